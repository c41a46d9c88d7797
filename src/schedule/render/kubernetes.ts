import type { ScheduledJob } from '../../config/schedule.ts';
import { describeWork, runWords } from '../host.ts';

export interface KubernetesOptions {
  image: string;
}

/** Where the configuration is mounted. */
const folder = '/etc/dbops';

/** How much longer than its job a pod may live, for the messages at the end. */
const marginSeconds = 60;

/** A CronJob for each job, as one YAML stream. Pure. */
export function renderKubernetes(jobs: ScheduledJob[], { image }: KubernetesOptions): string {
  return jobs.map((job) => cronJob(job, image)).join('---\n');
}

function cronJob(job: ScheduledJob, image: string): string {
  const { timeLimitMs } = job;
  // A JSON text is YAML too, so nothing has to be quoted by hand.
  const quoted = (value: unknown) => JSON.stringify(value);
  const limit =
    timeLimitMs === undefined
      ? []
      : [`      activeDeadlineSeconds: ${String(Math.ceil(timeLimitMs / 1000) + marginSeconds)}`];
  return [
    `# ${describeWork(job)}`,
    'apiVersion: batch/v1',
    'kind: CronJob',
    'metadata:',
    `  name: ${quoted(`dbops-${job.name}`)}`,
    'spec:',
    `  schedule: ${quoted(job.times.text)}`,
    `  timeZone: ${quoted(job.timezone)}`,
    '  concurrencyPolicy: Forbid',
    '  startingDeadlineSeconds: 3600',
    '  successfulJobsHistoryLimit: 3',
    '  failedJobsHistoryLimit: 3',
    '  jobTemplate:',
    '    spec:',
    '      backoffLimit: 0',
    ...limit,
    '      template:',
    '        spec:',
    '          restartPolicy: Never',
    '          containers:',
    '            - name: dbops',
    `              image: ${quoted(image)}`,
    `              args: ${quoted(runWords(job, `${folder}/dbops.yaml`))}`,
    '              envFrom:',
    '                - secretRef: { name: dbops }',
    '              volumeMounts:',
    `                - { name: configuration, mountPath: ${folder}, readOnly: true }`,
    '          volumes:',
    '            - name: configuration',
    '              configMap: { name: dbops }',
    '',
  ].join('\n');
}
