import { explain } from '../../health/explain.ts';
import { getCheck } from '../../health/plan.ts';
import { paint } from '../../output/style.ts';
import { defineCommand, type Result } from '../command.ts';

export const command = defineCommand({
  changes: false,
  examples: [
    {
      command: 'dbops health explain connections.used',
      about: 'why it matters, what it asks, how to mend it',
    },
  ],
  declare(cmd) {
    cmd.argument('<check>', 'its name, as "dbops health list" has it');
  },
  run({ args: [id = ''], settings }): Promise<Result> {
    const data = explain(settings, getCheck(settings, id));
    const sections: [string, string][] = [
      ['Answers', data.answers],
      ['Why', data.why],
      [
        'Judged by',
        [data.judgedBy, ...data.objects.map((own) => `${own.object}: ${own.judgedBy}`)].join('\n'),
      ],
      ['Source', data.source ?? ''],
      ['Takes', data.takes.join('\n')],
      ['Profiles', data.profiles.join(', ')],
      ['What mends it', data.advice],
      ['Asks', data.asks],
    ];
    const text = sections
      .filter(([, body]) => body !== '')
      .map(([title, body]) => `${paint('bold', title)}\n${body.replaceAll(/^/gm, '  ')}`)
      .join('\n\n');
    return Promise.resolve({ data, text: `${data.id}\n\n${text}` });
  },
});
