// An invoice as a PDF file. Amounts are in cents, so that sums are exact.
import { PDFDocument, StandardFonts, rgb } from "pdf-lib";

type Item = { name: string; cents: number; quantity?: number };
type Payload = { number: string; customer: string; items: Item[] };

const A4: [number, number] = [595, 842];
const LEFT = 50;
const RIGHT = 545;
const euros = (cents: number) => `${(cents / 100).toFixed(2)} EUR`;

export async function handler({ number, customer, items }: Payload, zmesh: any) {
  if (!items?.length) return zmesh.response({ error: "items is empty" }, { status: 422 });
  const pdf = await PDFDocument.create();
  pdf.setTitle(`Invoice ${number}`);
  const plain = await pdf.embedFont(StandardFonts.Helvetica);
  const bold = await pdf.embedFont(StandardFonts.HelveticaBold);
  const page = pdf.addPage(A4);
  let y = 780;
  const line = (left: string, right = "", font = plain, size = 11) => {
    page.drawText(left, { x: LEFT, y, size, font });
    page.drawText(right, { x: RIGHT - font.widthOfTextAtSize(right, size), y, size, font });
    y -= size * 1.8;
  };

  line(`Invoice ${number}`, "", bold, 20);
  line(`For ${customer}`);
  y -= 20;
  let total = 0;
  for (const { name, cents, quantity = 1 } of items) {
    line(`${quantity} × ${name}`, euros(cents * quantity));
    total += cents * quantity;
  }
  page.drawLine({ start: { x: LEFT, y: y + 10 }, end: { x: RIGHT, y: y + 10 }, color: rgb(0.6, 0.6, 0.6) });
  y -= 8;
  line("Total", euros(total), bold);
  return zmesh.response(await pdf.save(), { headers: { "content-type": "application/pdf" } });
}
