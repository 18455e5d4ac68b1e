/** The members of each interface of the type declarations, with what is said above them. */
export type Member = { name: string; detail: string; info: string };

export function membersOf(text: string): Map<string, Member[]> {
  const found = new Map<string, Member[]>();
  for (const match of text.matchAll(/^export interface (\w+)[^{]*\{\n([\s\S]*?)^\}/gm)) {
    found.set(match[1]!, members(match[2]!, "  "));
    // A nested shape, such as zmesh.invocation, is completed as well.
    for (const nested of match[2]!.matchAll(/^ {2}readonly (\w+): \{\n([\s\S]*?)^ {2}\};/gm)) found.set(nested[1]![0]!.toUpperCase() + nested[1]!.slice(1), members(nested[2]!, "    "));
  }
  return found;
}

function members(body: string, indent: string): Member[] {
  const own: Member[] = [];
  let info: string[] = [];
  for (const line of body.split("\n")) {
    if (!line.startsWith(indent) || line.startsWith(`${indent} `) && !/^\s+\*/.test(line)) continue;
    const said = /^\s*(?:\/\*\*|\*)\s?(.*?)\s*(?:\*\/)?$/.exec(line);
    if (said) {
      if (line.includes("/**")) info = [];
      info.push(said[1]!);
      continue;
    }
    const member = /^\s*(?:readonly )?(\w+)(\??[<(:].*?);?\s*\{?$/.exec(line);
    if (member && !own.some((m) => m.name === member[1])) own.push({ name: member[1]!, detail: member[1]! + member[2]!, info: info.join(" ").trim() });
    info = [];
  }
  return own;
}
