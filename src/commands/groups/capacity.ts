// Commands about what a server will need. One chunk of the bundle: see index.ts.
export { runCommand } from '../run.ts';
export { command as capacityRecord } from '../capacity/record.ts';
export { command as capacityForecast } from '../capacity/forecast.ts';
export { command as tune } from '../tune.ts';
