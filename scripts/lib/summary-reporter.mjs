// A vitest reporter that writes the counts and the skipped tests to the file in DBOPS_TEST_SUMMARY.
import fs from 'node:fs';

/**
 * @typedef {object} SkippedTest
 * @property {string} project
 * @property {string} file
 * @property {string} name
 * @property {string} reason empty where the test gave none
 */

/**
 * @typedef {object} Summary
 * @property {number} passed
 * @property {number} failed tests, and files that failed before any of their tests ran
 * @property {SkippedTest[]} skipped
 */

export default class SummaryReporter {
  /**
   * @param {readonly import('vitest/node').TestModule[]} modules
   * @param {readonly unknown[]} unhandledErrors
   */
  onTestRunEnd(modules, unhandledErrors) {
    /** @type {Summary} */
    const summary = { passed: 0, failed: unhandledErrors.length, skipped: [] };
    for (const module of modules) {
      if (module.errors().length > 0) summary.failed += 1;
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === 'passed') summary.passed += 1;
        if (result.state === 'failed') summary.failed += 1;
        if (result.state === 'skipped') {
          const { project, relativeModuleId: file } = module;
          summary.skipped.push({
            project: project.name,
            file,
            name: test.fullName,
            reason: result.note ?? '',
          });
        }
      }
    }
    const file = process.env['DBOPS_TEST_SUMMARY'];
    if (file) fs.writeFileSync(file, JSON.stringify(summary));
  }
}
