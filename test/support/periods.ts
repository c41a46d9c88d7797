// What the tests of periods share: zones that have broken calendars before, and every calendar interval.

/** Offsets of half hours, changes at midnight, by half an hour, twice a year for Ramadan, and a day that never was. */
export const awkwardZones = [
  'UTC',
  'Asia/Seoul',
  'America/New_York',
  'America/Sao_Paulo',
  'America/Havana',
  'Australia/Lord_Howe',
  'Asia/Kolkata',
  'Pacific/Apia',
  'Africa/Casablanca',
  'Europe/Lisbon',
] as const;

export const calendarIntervals = ['hour', 'day', 'week', 'month', 'quarter', 'year'] as const;

/** Days around which something changes: daylight saving in those zones, leap days, and years of 52 and 53 weeks. */
export const awkwardDays = [
  '1970-01-01',
  '1999-12-31',
  '2000-02-29',
  '2011-12-30',
  '2015-12-31',
  '2016-02-29',
  '2018-11-04',
  '2019-02-17',
  '2020-12-31',
  '2021-01-03',
  '2024-02-29',
  '2026-03-08',
  '2026-03-29',
  '2026-04-05',
  '2026-10-04',
  '2026-11-01',
  '2027-01-01',
  '2028-02-29',
  '2037-10-25',
];
