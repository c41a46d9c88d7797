/** A whole dbops.yaml with every key, commented. A test holds that it is valid. */
export const exampleConfiguration = `# dbops.yaml: looked for in the working directory, then in ~/.config/dbops/, then in /etc/dbops/.
# --config or DBOPS_CONFIG picks one exactly. "dbops config check" says what is wrong with it, "dbops init"
# writes a first one from what is in the database. \${NAME} is filled from the environment; $\${ stands for \${.

connection:                        # better left to the environment: DATABASE_URL, or PGHOST and the like
  host: db.example.net
  port: 5432
  database: factory
  user: dbops
  passwordFile: /run/secrets/dbops   # a relative path is looked up beside this file; ~/.pgpass works too
  sslmode: verify-full               # disable, prefer, require, verify-ca, verify-full
  connectTimeout: 10 s

state:
  schema: dbops                    # run history and ledger, in the same database

locking:
  timeout: 100 ms                  # how long one lock is waited for, while others wait behind it
  deadline: 2 min                  # how long a change is tried again

checks:
  ensureEvery: 1 day               # how often cron runs "partition ensure"

log:
  format: text                     # or json

defaults:                          # for every table below that says nothing else
  timezone: UTC                    # where a day begins, for keys that are instants
  premake: 6                       # the current period and six more
  quarantine: 7 days               # between detach and drop

partitions:
  - table: public.judgment_executions
    key: created_at                # date, timestamp, timestamptz, uuid (version 7), or bigint
    interval: month                # hour, day, week, month, quarter, year
    timezone: Asia/Seoul
    naming: '{table}_y{yyyy}m{mm}'
    retention: { hot: 2 years, cold: 5 years }     # attached for 2 years, archived until 5 years old

  - table: public.raw_events
    key: event_time
    interval: day
    premake: 14
    retention: { hot: 90 days, then: delete }      # deleted without an archive, said explicitly
    storageParameters: { autovacuum_vacuum_scale_factor: 0.05 }

  - table: public.clicks
    key: at
    interval: week
    epoch: milliseconds            # a bigint that counts since 1970; or seconds

  - table: public.orders
    key: id
    interval: 10000000             # ids in one partition
    retention: { hot: 500000000 }  # ids behind the newest
`;
