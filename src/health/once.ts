import type { HealthFacts } from '../sql/health-facts.ts';
import type { CheckContext } from './check.ts';

/** What several checks of one run look at, looked at once. The facts of a run are read once, so they tell runs apart. */
export function oncePerRun<T>(
  look: (context: CheckContext) => Promise<T>,
): (context: CheckContext) => Promise<T> {
  const seen = new WeakMap<HealthFacts, Promise<T>>();
  return (context) => {
    const known = seen.get(context.facts);
    if (known !== undefined) return known;
    const looking = look(context);
    seen.set(context.facts, looking);
    return looking;
  };
}
