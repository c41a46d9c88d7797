/** A word of an SQL text, as the server would read it. */
export interface SqlWord {
  /** Folded to lower case unless it was quoted. */
  name: string;
  /** A parenthesis follows: a function, or a keyword that looks like one. */
  isCall: boolean;
  isQuoted: boolean;
}

export interface SqlText {
  words: SqlWord[];
  /** Contents of string constants. */
  strings: string[];
  /** It has $1 and the like, which are no values here. */
  hasParameters: boolean;
}

/** A comment, and one within it: the server lets them nest. Nothing in it can be read in two ways, so no match is tried twice. */
const comment = String.raw`/\*(?:[^*/]|\*(?!/)|/(?!\*)|/\*(?:[^*]|\*(?!/))*\*/)*\*/`;

/** What may stand between the name of a function and its parenthesis. */
const space = String.raw`(?:\s|--[^\n]*\n|${comment})*`;

/**
 * Reads an expression into words and strings, leaving out comments. No parser: whether it is SQL at all, the server
 * says. The order of the alternatives matters. Pure.
 */
const token = new RegExp(
  [
    String.raw`--[^\n]*`,
    comment,
    String.raw`(?<escaped>[eE]'(?:[^'\\]|\\[^]|'')*')`,
    String.raw`(?<string>'(?:[^']|'')*')`,
    String.raw`\$(?<tag>[\p{L}_][\p{L}\p{N}_]*|)\$(?<dollar>[^]*?)\$\k<tag>\$`,
    String.raw`(?<parameter>\$\d+)`,
    String.raw`"(?<quoted>(?:[^"]|"")*)"(?<quotedCall>${space}\()?`,
    String.raw`(?<word>[\p{L}_][\p{L}\p{N}_$]*)(?<call>${space}\()?`,
  ].join('|'),
  'gu',
);

export function readSql(text: string): SqlText {
  const read: SqlText = { words: [], strings: [], hasParameters: false };
  for (const { groups = {} } of text.matchAll(token)) {
    const quotes = groups['escaped']?.slice(2, -1) ?? groups['string']?.slice(1, -1);
    if (quotes !== undefined) read.strings.push(quotes.replaceAll("''", "'"));
    else if (groups['dollar'] !== undefined) read.strings.push(groups['dollar']);
    else if (groups['parameter'] !== undefined) read.hasParameters = true;
    else if (groups['quoted'] !== undefined)
      read.words.push({
        name: groups['quoted'].replaceAll('""', '"'),
        isCall: groups['quotedCall'] !== undefined,
        isQuoted: true,
      });
    else if (groups['word'] !== undefined)
      read.words.push({
        name: groups['word'].toLowerCase(),
        isCall: groups['call'] !== undefined,
        isQuoted: false,
      });
  }
  return read;
}

/** Words that say what time it is: in each batch another one. */
const clocks = new Set([
  'now',
  'current_timestamp',
  'current_date',
  'current_time',
  'localtime',
  'localtimestamp',
  'transaction_timestamp',
  'statement_timestamp',
  'clock_timestamp',
  'timeofday',
  'age',
]);
/** 'today 00:00' is read as that word by each type of time. */
const clockString = /^\s*(?:now|today|tomorrow|yesterday)(?![\p{L}\p{N}_])/iu;

/** The first thing in a text that depends on the clock; undefined when nothing does. Pure. */
export function clockIn(text: SqlText): string | undefined {
  const word = text.words.find(
    (item) => clocks.has(item.name) && (item.isQuoted || item.name === 'age' ? item.isCall : true),
  );
  return word?.name ?? text.strings.find((item) => clockString.test(item));
}
