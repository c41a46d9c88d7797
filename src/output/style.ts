import { styleText } from 'node:util';

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

/** Whether the stream takes colour: a terminal that is not dumb, unless NO_COLOR or FORCE_COLOR says otherwise. */
export function takesColour(descriptor: 1 | 2): boolean {
  const { NO_COLOR, FORCE_COLOR, TERM } = process.env;
  if (NO_COLOR !== undefined && NO_COLOR !== '') return false;
  if (FORCE_COLOR !== undefined && FORCE_COLOR !== '') return FORCE_COLOR !== '0' && FORCE_COLOR !== 'false';
  if (TERM === 'dumb') return false;
  return (descriptor === 1 ? process.stdout : process.stderr).isTTY;
}

/** The text in a colour, where the stream takes colour. */
export function paint(style: Style, text: string, descriptor: 1 | 2 = 1): string {
  return takesColour(descriptor) ? styleText(style, text, { validateStream: false }) : text;
}
