import type { FunctionProps } from "./function.tsx";
import { LogStream } from "./logs.tsx";

export default function FunctionLogs({ fn }: FunctionProps) {
  return <LogStream path={`/functions/${fn.id}/logs`} />;
}
