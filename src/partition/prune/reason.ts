import type { PlanNode } from '../../sql/explain.ts';
import { visible } from '../../sql/quote.ts';
import type { KeyKind } from '../model/key.ts';

/** Why a statement reads every partition, and how to write it. */
export interface PruneReason {
  reason: string;
  advice: string;
}

const conditionNames = [
  'Filter',
  'Index Cond',
  'Recheck Cond',
  'Join Filter',
  'Hash Cond',
  'Merge Cond',
  'One-Time Filter',
];

/** All conditions of a plan, as EXPLAIN prints them. */
export function conditionsOf(plan: PlanNode): string[] {
  const own = conditionNames.flatMap((name) => {
    const value = plan[name];
    return typeof value === 'string' ? [value] : [];
  });
  return [...own, ...(plan.Plans ?? []).flatMap(conditionsOf)];
}

/** How to write a condition that names the period, by what the key counts. */
function exampleOf(key: string, kind: KeyKind): string {
  const [from, to] =
    kind === 'id'
      ? ['1000', '2000']
      : kind === 'uuidv7'
        ? ["'01940000-0000-0000-0000-000000000000'", "'01950000-0000-0000-0000-000000000000'"]
        : kind === 'epoch-seconds'
          ? ['1735689600', '1738368000']
          : kind === 'epoch-milliseconds'
            ? ['1735689600000', '1738368000000']
            : ["'2025-01-26'", "'2025-01-27'"];
  return `${key} >= ${from} and ${key} < ${to}`;
}

/**
 * The probable reason, read from the conditions of the plan: what is there about the key, and what stands around it.
 * A guess that names what it saw; pure.
 */
export function pruneReason(plan: PlanNode, key: string, kind: KeyKind): PruneReason {
  const shown = visible(key);
  const example = exampleOf(shown, kind);
  const escaped = key.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const column = `(?:(?:"[^"]+"|[\\w\\u0080-\\uffff]+)\\.)?"?${escaped}"?(?![\\w\\u0080-\\uffff(])`;
  const about = conditionsOf(plan).filter((condition) => new RegExp(`(?<![\\w.])${column}`).test(condition));
  const evidence = about[0];
  if (evidence === undefined) {
    return {
      reason: `no condition on the key ${shown}`,
      advice: `add one: ${example}`,
    };
  }
  const text = about.join('\n');
  const matches = (pattern: string): RegExpExecArray | null => new RegExp(pattern).exec(text);
  if (
    matches(`timezone\\([^()]*(?:\\([^()]*\\)[^()]*)*,\\s*\\(?${column}|\\(?${column}\\)? AT TIME ZONE`) !==
    null
  ) {
    return {
      reason: `the key ${shown} is moved to a time zone before it is compared: ${visible(evidence)}`,
      advice: `move the other side instead: ${shown} >= '2025-01-26 00:00'::timestamp at time zone 'Asia/Seoul'`,
    };
  }
  const cast = matches(`\\(${column}\\)::([\\w ]+?)(?=\\s*(?:[=<>~!)]|$))`);
  if (cast !== null) {
    const type = cast[1]?.trim() ?? '';
    return /^(date|timestamp|time)/.test(type)
      ? {
          reason: `the key ${shown} is cast to ${type} before it is compared: ${visible(evidence)}`,
          advice: `compare the key itself with both ends: ${example}`,
        }
      : {
          reason: `the key ${shown} is cast to ${type}, since it is compared with a value of that type: ${visible(evidence)}`,
          advice: `give the value (or the parameter) the key's type: ${example}`,
        };
  }
  const called = matches(`([\\w".]+)\\((?:[^()]*,\\s*)?\\(?${column}`);
  if (called !== null && !/^(any|all|and|or|not)$/i.test(called[1] ?? '')) {
    return {
      reason: `the function ${visible(called[1] ?? '')} stands around the key ${shown}: ${visible(evidence)}`,
      advice: `compare the key itself: ${example}`,
    };
  }
  if (/^EXTRACT|extract\(/i.test(text) || matches(`(?:EXTRACT|date_part)\\([^()]*${column}`) !== null) {
    return {
      reason: `a part of the key ${shown} is taken before it is compared: ${visible(evidence)}`,
      advice: `compare the key itself: ${example}`,
    };
  }
  if (matches(`${column}\\)?\\s*[-+*/|]`) !== null) {
    return {
      reason: `something is computed from the key ${shown} before it is compared: ${visible(evidence)}`,
      advice: `compute on the other side: ${example}`,
    };
  }
  if (/ OR /.test(text)) {
    return {
      reason: `the key ${shown} is in one arm of an OR only: ${visible(evidence)}`,
      advice: `set the OR in parentheses and add a condition that holds for all of it: (...) and ${example}`,
    };
  }
  if (
    matches(
      `${column} (?:=|<|>|<=|>=) (?!\\$)[\\w"]+\\.[\\w"]+|[\\w"]+\\.[\\w"]+ (?:=|<|>|<=|>=) ${column}`,
    ) !== null
  ) {
    return {
      reason: `the key ${shown} is compared with a column of another table, whose values are known only row by row: ${visible(evidence)}`,
      advice: `add a condition with values: ${example}`,
    };
  }
  return {
    reason: `the condition covers every partition: ${visible(evidence)}`,
    advice: `narrow it from both sides: ${example}`,
  };
}
