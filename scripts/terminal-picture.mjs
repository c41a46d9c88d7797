// Draws what a command printed on a terminal as an SVG, for the documents.
//   script -qec "dbops partition plan" /dev/null | node scripts/terminal-picture.mjs '$ dbops partition plan' > docs/images/plan.svg
import { text as readAll } from 'node:stream/consumers';
import { stripVTControlCharacters } from 'node:util';

const [, , title = ''] = process.argv;
const size = 13;
const advance = size * 0.6;
const leading = Math.round(size * 1.35);
const margin = 16;

/** The colours of styleText that dbops uses, by their SGR code. */
const colours = new Map([
  ['31', '#ff7b72'],
  ['32', '#7ee787'],
  ['33', '#e3b341'],
  ['36', '#79c0ff'],
  ['2', '#8b949e'],
  ['90', '#8b949e'],
]);

const output = (await readAll(process.stdin)).replaceAll('\r', '').trimEnd();
const lines = [title, ...output.split('\n')].filter((line, index) => index > 0 || line !== '');
const columns = Math.max(...lines.map((line) => stripVTControlCharacters(line).length));
const width = Math.ceil(columns * advance) + 2 * margin;
const height = lines.length * leading + 2 * margin;

process.stdout.write(
  [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">`,
    `<title>${escapeXml(stripVTControlCharacters(title))}</title>`,
    `<rect width="100%" height="100%" rx="8" fill="#0d1117"/>`,
    `<g font-family="ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace" font-size="${size}" fill="#e6edf3" xml:space="preserve">`,
    ...lines.map((line, index) => drawLine(line, margin + (index + 1) * leading - 4)),
    '</g>',
    '</svg>',
    '',
  ].join('\n'),
);

/**
 * One line of text; each run of one colour is a tspan.
 * @param {string} line
 * @param {number} y
 */
function drawLine(line, y) {
  // eslint-disable-next-line no-control-regex -- the escape sequences are what is read here
  const parts = line.split(/\u001b\[([\d;]*)m/);
  let fill;
  let bold = false;
  let spans = '';
  for (const [index, part] of parts.entries()) {
    if (index % 2 === 1) {
      for (const code of part.split(';')) {
        if (code === '1') bold = true;
        else if (code === '22') bold = false;
        if (code === '39' || code === '0' || code === '' || code === '22') fill = undefined;
        fill = colours.get(code) ?? fill;
      }
      continue;
    }
    const clean = stripVTControlCharacters(part);
    if (clean === '') continue;
    const style = `${fill === undefined ? '' : ` fill="${fill}"`}${bold ? ' font-weight="bold"' : ''}`;
    spans += `<tspan${style}>${escapeXml(clean)}</tspan>`;
  }
  return `<text x="${margin}" y="${y}" textLength="${Math.round(stripVTControlCharacters(line).length * advance)}">${spans}</text>`;
}

/** @param {string} value */
function escapeXml(value) {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
