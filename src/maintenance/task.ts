import type { Change } from '../plan/step.ts';
import type { RelationName } from '../sql/quote.ts';
import type { Looked } from './looked.ts';

/** One statement of maintenance, with why it was chosen. */
export interface Task {
  verb: 'vacuum' | 'vacuum full' | 'analyze' | 'reindex' | 'drop leftover' | 'refresh' | 'set';
  /** The table, index or view that it is about. */
  target: RelationName;
  /** Whether size, dead rows and age are shown before and after. */
  isMeasured: boolean;
  why: string;
  /** It reads or works on tables that other tasks are about: it comes after those, and alone. */
  isLate?: boolean;
  /** It is not begun when the window closes sooner. */
  expectedSeconds?: number;
  change: Change;
}

/** What was looked at and is not done, and why. */
export interface LeftOut {
  object: string;
  why: string;
  /** As it should be: nothing to warn of, and no run is partly done for it. */
  isExpected?: boolean;
}

/** What is to be done, and what not. */
export interface MaintenancePlan {
  tasks: Task[];
  leftOut: LeftOut[];
  warnings: string[];
  /** Where there is nothing to do: that it was looked for. */
  looked?: Looked[];
}

/** What a table or an index was like at one moment; null is what it does not have. */
export interface Figures {
  sizeBytes: number | null;
  deadRows: number | null;
  xidAge: number | null;
}

/** What became of a task. "left": the window closed before its turn, or in its midst. */
export interface TaskResult {
  verb: Task['verb'];
  object: string;
  why: string;
  outcome: 'done' | 'skipped' | 'vanished' | 'failed' | 'left';
  /** Why it was not done. */
  reason: string | null;
  seconds: number;
  before: Figures | null;
  after: Figures | null;
}

/** Several plans as one, in their order. */
export function joinPlans(plans: MaintenancePlan[]): MaintenancePlan {
  return {
    tasks: plans.flatMap(({ tasks }) => tasks),
    leftOut: plans.flatMap(({ leftOut }) => leftOut),
    warnings: plans.flatMap(({ warnings }) => warnings),
    looked: plans.flatMap(({ looked = [] }) => looked),
  };
}
