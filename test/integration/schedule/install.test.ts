// The crontab of a user, into which jobs are written beside the lines of others.
import fs from 'node:fs';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { createWorkspace, type Workspace } from '../../support/workspace.ts';

let workspace: Workspace;

beforeEach(() => {
  // The crontab is written without the database.
  workspace = createWorkspace({ url: 'postgresql://localhost:1/nowhere' }, 'log: { format: text }');
});

describe('schedule install and remove', () => {
  /** A fake crontab: cron is not installed where tests run. It keeps the crontab in a file beside it. */
  const fakeCrontab = (onRead = '') => `#!/bin/sh
file="$(dirname "$0")/tab"
if [ "$1" = -l ]; then
  [ -f "$file" ] || { echo "no crontab for tester" >&2; exit 1; }
  cat "$file"
  ${onRead}
else
  cat > "$file"
fi
`;
  let env: { PATH: string };
  let tab: string;
  const install = (onRead = '') => {
    const bin = path.join(workspace.dir, 'bin');
    fs.mkdirSync(bin, { recursive: true });
    fs.writeFileSync(path.join(bin, 'crontab'), fakeCrontab(onRead), { mode: 0o755 });
    tab = path.join(bin, 'tab');
    env = { PATH: `${bin}:${process.env['PATH'] ?? ''}` };
  };

  beforeEach(() => {
    workspace.configure("schedule: [{ name: nightly, cron: '0 3 * * *', run: health }]");
    install();
  });

  it("touch nobody else's lines, and say what they would do", async () => {
    const planned = await workspace.run(['schedule', 'install', '--dry-run'], env);
    expect(planned).toMatchObject({ code: 0, stdout: expect.stringMatching(/^\+ # BEGIN/) as string });
    expect(planned.stderr).toContain(
      'cron does not have these variables of this shell: DATABASE_URL; write what they hold into',
    );
    expect(fs.existsSync(tab)).toBe(false);
    fs.writeFileSync(tab, 'MAILTO=me\n0 1 * * * mine\n');
    expect(await workspace.run(['schedule', 'install'], env)).toMatchObject({ code: 0 });
    const written = fs.readFileSync(tab, 'utf8');
    expect(written).toMatch(
      /^MAILTO=me\n0 1 \* \* \* mine\n# BEGIN dbops schedule.*\n# nightly.*\n0 3 \* \* \* cd .* schedule run nightly .*\n# END dbops schedule\n$/,
    );
    const again = await workspace.run(['schedule', 'install'], env);
    expect(again.stdout).toBe('the crontab has these lines already\n');
    expect(await workspace.run(['schedule', 'remove'], env)).toMatchObject({ code: 0 });
    expect(fs.readFileSync(tab, 'utf8')).toBe('MAILTO=me\n0 1 * * * mine\n');
  });

  it('know a crontab that was never written, also that of busybox', async () => {
    const says = `#!/bin/sh
[ "$1" = -l ] && [ ! -f "$(dirname "$0")/tab" ] && { echo "crontab: can't open 'me': No such file or directory" >&2; exit 1; }
`;
    fs.writeFileSync(path.join(workspace.dir, 'bin/crontab'), fakeCrontab().replace('#!/bin/sh\n', says));
    expect(await workspace.run(['schedule', 'remove'], env)).toMatchObject({
      code: 0,
      stdout: 'the crontab has no lines of dbops\n',
    });
    expect(await workspace.run(['schedule', 'install'], env)).toMatchObject({ code: 0 });
    expect(fs.readFileSync(tab, 'utf8')).toContain('schedule run nightly');
  });

  it('warn of what cron will not find: variables that the file fills in, a password, another zone', async () => {
    workspace.configure(`
connection: { host: localhost, database: f }
stores: { far: { url: s3://bucket/x, region: eu-west-1 } }
schedule: [{ name: nightly, cron: '0 3 * * *', run: health, notify: { webhook: "\${HOOK}" } }]`);
    const shell = { ...env, DATABASE_URL: '', HOOK: 'https://h/secret', PGPASSWORD: 'p', AWS_PROFILE: 'a' };
    const far = { ...shell, TZ: 'Pacific/Kiritimati' };
    const { code, stderr } = await workspace.run(['schedule', 'install', '--dry-run'], far);
    expect(code).toBe(0);
    expect(stderr).toContain(
      'times are written for Pacific/Kiritimati, as TZ of this shell says, but the host',
    );
    const cronie = await workspace.run(['schedule', 'render', '--cron', 'cronie'], shell);
    expect(cronie).toMatchObject({ code: 0 });
    expect(cronie.stderr).toContain('of this shell: PGPASSWORD, HOOK, AWS_PROFILE; write');
    expect(cronie.stderr).not.toContain('secret');
    const systemd = await workspace.run(['schedule', 'render', '--format', 'systemd'], shell);
    expect(systemd.stderr).toContain('HOOK, AWS_PROFILE; write them into /etc/dbops/environment');
    const k8s = await workspace.run(['schedule', 'render', '--format', 'k8s'], shell);
    expect(k8s).toMatchObject({ code: 0, stderr: '' });
  });

  it('leave a crontab alone that somebody edits meanwhile', async () => {
    install('echo "0 2 * * * theirs" >> "$file"');
    fs.writeFileSync(tab, '0 1 * * * mine\n');
    const { code, stderr } = await workspace.run(['schedule', 'install'], env);
    expect({ code, stderr }).toMatchObject({
      code: 4,
      stderr: expect.stringContaining('changed by somebody else') as string,
    });
    expect(fs.readFileSync(tab, 'utf8')).not.toContain('dbops');
    expect(fs.readFileSync(tab, 'utf8')).toContain('theirs');
  });
});
