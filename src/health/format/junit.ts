import type { Finding } from '../finding.ts';

/** A report as JUnit has it, for CI: a suite a group, a case a check or an object. Pure. */
export function toJunit(findings: Finding[]): string {
  const suites = [...new Set(findings.map(({ group }) => group))].map((group) => {
    const items = findings.filter((finding) => finding.group === group);
    const cases = items.map(caseOf).join('\n');
    return `  <testsuite name="${escape(group)}" ${countsOf(items)}>\n${cases}\n  </testsuite>`;
  });
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="dbops health" ${countsOf(findings)}>\n${suites.join('\n')}\n</testsuites>\n`;
}

/** What could not be read is an error in the sense of JUnit: the test itself did not work. */
function countsOf(items: Finding[]): string {
  const count = (...severities: Finding['severity'][]) =>
    String(items.filter(({ severity }) => severities.includes(severity)).length);
  return `tests="${String(items.length)}" failures="${count('warn', 'crit')}" errors="${count('unknown')}" skipped="${count('skipped')}"`;
}

function caseOf(finding: Finding): string {
  const { check, object, severity, message, detail, advice, mend } = finding;
  const name = object === null ? check : `${check} ${object}`;
  const open = `    <testcase classname="dbops.${escape(finding.group)}" name="${escape(name)}"`;
  if (severity === 'ok') return `${open}/>`;
  if (severity === 'skipped')
    return `${open}>\n      <skipped message="${escape(message)}"/>\n    </testcase>`;
  const tag = severity === 'unknown' ? 'error' : 'failure';
  const text = [detail, advice, mend].filter((part) => part !== null).join('\n');
  return `${open}>\n      <${tag} type="${severity}" message="${escape(message)}">${escape(text)}</${tag}>\n    </testcase>`;
}

/** XML 1.0 takes no control characters but tab and line breaks, escaped or not. */
function escape(text: string): string {
  return (
    text
      .replaceAll('&', '&amp;')
      .replaceAll('<', '&lt;')
      .replaceAll('>', '&gt;')
      .replaceAll('"', '&quot;')
      // eslint-disable-next-line no-control-regex
      .replaceAll(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, '\ufffd')
  );
}
