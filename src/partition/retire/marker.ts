import { literal } from '../../sql/quote.ts';

/** The comment on a detached table: what may be dropped, from when, and where it belonged. */
export const detachedMarker = 'dbops:detached';

export interface DetachedMark {
  /** Quoted schema.table of the parent. */
  from: string;
  /** As pg_get_expr printed it: FOR VALUES FROM (...) TO (...). */
  bounds: string;
  at: Date;
  /** Null: never by itself. */
  dropAfter: Date | null;
  /** The archive that holds its rows; null when there is none. */
  archive: string | null;
}

/** The comment's text. The parent comes last but one, since a name may hold anything; values are JSON. */
export function markText(mark: DetachedMark): string {
  const after = mark.dropAfter === null ? 'never' : mark.dropAfter.toISOString();
  return (
    `${detachedMarker} at=${mark.at.toISOString()} drop-after=${after} archive=${mark.archive ?? 'none'} ` +
    `from=${JSON.stringify(mark.from)} bounds=${JSON.stringify(mark.bounds)}`
  );
}

/** COMMENT ON TABLE with the mark. */
export function markSql(quotedTable: string, mark: DetachedMark): string {
  return `comment on table ${quotedTable} is ${literal(markText(mark))}`;
}

/** Reads a mark back; undefined for any other comment. */
export function parseMark(comment: string | null): DetachedMark | undefined {
  const match =
    /^dbops:detached at=(\S+) drop-after=(\S+) archive=(\S+) from=("(?:[^"\\]|\\.)*") bounds=("(?:[^"\\]|\\.)*")$/s.exec(
      comment ?? '',
    );
  if (match === null) return undefined;
  const [, at = '', after = '', archive = 'none', from = '""', bounds = '""'] = match;
  return {
    at: new Date(at),
    dropAfter: after === 'never' ? null : new Date(after),
    archive: archive === 'none' ? null : archive,
    from: JSON.parse(from) as string,
    bounds: JSON.parse(bounds) as string,
  };
}
