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

stores:                            # where archives are kept, each under a name of your own
  local:
    url: file:///var/lib/dbops/store   # the directory has to be there: its disk may not be mounted
  offsite:
    url: s3://factory-archive/dbops  # credentials: the environment's AWS_*, a profile, or the two keys below
    region: ap-northeast-2
    endpoint: https://s3.example.net # a server that speaks S3 and is not AWS
    pathStyle: true
    profile: archive
    accessKeyId: dbops
    secretAccessKeyFile: /run/secrets/s3   # or secretAccessKey: $\{S3_SECRET}
    kmsKeyId: alias/archive        # SSE-KMS
    storageClass: STANDARD_IA

archive:
  copies: [local, offsite]         # the stores that get a copy; all of them by default
  required: 2                      # in how many of them it must be proven before the source may go; all by default
  settle: 1 day                    # how long after its upper bound a partition may still be written to
  verify: bytes                    # bytes, digest or restore: how much is compared before the source may go
  jobs: 2                          # parallel copies
  compressionLevel: 2              # of zstd
  parquet: false                   # true: Parquet beside the parts, for queries
  workDirectory: /var/tmp/dbops    # for Parquet and queries
  onFailure: mail -s "archive failed" ops@example.net   # a shell command; gets JSON on its standard input

backup:
  copies: [local, offsite]         # 3-2-1: the database, a copy here, a copy elsewhere; all stores by default
  required: 2                      # in how many of them a backup must be to count; all by default
  jobs: 2                          # parallel sessions of a dump and a restore
  compressionLevel: 2              # of zstd
  workDirectory: /var/tmp/dbops    # for dumps in directory format, restores and drills
  minimumSize: 1 MB                # a backup with less data than this has failed
  countRows: true                  # count the rows of each table in the dump's snapshot, for drills
  hashBelow: 64 MB                 # tables smaller than this are hashed as well
  archiveTimeout: 10 min           # how long a base backup waits for the last of its WAL in the archive
  retain:                          # a backup is kept while any rule of its kind keeps it; other kinds for ever
    logical: { daily: 7, weekly: 4, monthly: 12, yearly: 3 }
    base: { within: 30 days, last: 2 }
    incremental: { within: 7 days, hourly: 24 }
    partition: { within: 90 days }
  promise:                         # what "backup drill" measures against
    rto: 4 h                       # a restore takes at most so long
    rpo: 24 h                      # and loses at most so much
    pitrRto: 30 min                # the same for a base backup and its WAL
    pitrRpo: 5 min
  drill:
    url: postgresql://dbops@drill.example.net/postgres   # default: a server that the drill starts itself
    directory: /var/tmp/dbops-drill
    checks:                        # SQL that must return true in what was restored
      orders-are-there: select count(*) > 0 from public.orders
  pgbackrest:                      # for --kind pgbackrest
    stanza: factory
    config: /etc/pgbackrest/pgbackrest.conf
    user: postgres                 # whom root runs it as
  onFailure: mail -s "backup failed" ops@example.net   # a shell command; gets JSON on its standard input

wal:                               # the archive of WAL, see "dbops wal commands"
  copies: [local, offsite]         # those of backups by default
  required: 1                      # in how many of them a segment must be before PostgreSQL may forget it
  spool: /var/spool/dbops          # on the database host; survives a reboot
  jobs: 2                          # segments at once
  ahead: 64                        # further segments that one call pushes or fetches
  compressionLevel: 1              # of zstd

partitions:
  - table: public.judgment_executions
    key: created_at                # date, timestamp, timestamptz, uuid (version 7), or bigint
    interval: month                # hour, day, week, month, quarter, year
    timezone: Asia/Seoul
    naming: '{table}_y{yyyy}m{mm}'
    retention: { hot: 2 years, cold: 5 years }     # attached for 2 years, archived until 5 years old
    archive:                       # overrides of the above, and what is replaced on the way out
      mask: { client_address: 'null' }
      verify: digest
      settle: 2 days
      parquet: true
      copies: [offsite]

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

rows:                              # what "dbops rows run" does, in tables that are not partitioned
  limits:                          # when a run stops; the next one goes on. Each job may have its own
    maxTime: 2 h
    until: '05:00'
    replicaLag: 30 s
    slotBacklog: 10 GB
    archiveBacklog: 10 GB
    waiters: 5                     # batches in a row that others waited for
    pause: 5 min                   # how long a run waits for that to get better
    batchSize: 50000               # the most rows that one batch looks at
    gentle: false                  # true: rest after each batch for as long as it took
  jobs:
    outbox-published:
      purge: public.event_outbox
      olderThan: published_at 7 days
      where: status = 'PUBLISHED'
      cascade: false               # true: ON DELETE CASCADE may delete rows of other tables
    old-calls:
      move: public.llm_call_logs
      to: public.llm_call_logs_archive
      create: true
      olderThan: created_at 30 days
    old-addresses:
      mask: public.audit_logs
      olderThan: created_at 5 years
      set: { ip_address: 'null' }
      timezone: Asia/Seoul         # where a day begins, for columns that know no zone
      limits: { maxTime: 30 min }

maintenance:                       # what "dbops maintenance" does when nothing else is said
  until: '05:00'                   # nothing is begun after it, and what runs then is ended
  jobs: 2                          # tables at once
  vacuum:
    skip: [public.scratch*]        # never chosen; * stands for anything
  reindex:                         # indexes that are mostly air are rebuilt in each run
    bloatSize: 100 MB              # when so much of one is air
    bloatShare: 50                 # and so many percent of it; 100: never
    skip: [public.archive_*]
  refresh:                         # materialized views, and how old each may become
    - { view: public.daily_costs, every: 1 day }
  autovacuum:                      # settings of single tables
    public.event_outbox: { autovacuum_vacuum_scale_factor: 0.02, autovacuum_vacuum_threshold: 1000 }

indexes:                           # what "dbops index ensure" creates where it is missing
  - table: public.event_outbox
    columns: [created_at desc]     # columns or expressions, each with what may follow it
    where: status = 'PENDING'
    unique: false
    method: btree
    include: [id]
    name: event_outbox_pending_idx   # default: the name that PostgreSQL would give it

health:                            # "dbops health list" shows the checks, "explain" what each is judged by
  skip: []                         # checks or groups that are left out
  thresholds:
    connections.used:
      warn: 80 %                   # or a size, a duration or a number, as the check has it
      crit: 90 %                   # never: it stays a warning
      objects:                     # for single tables, roles, slots ...; * stands for anything
        reporting*: { warn: 60 % }
        loadtest: { ignore: true }
  checks:                          # of your own: a query that returns "value", with "object" where it has several
    outbox.pending:
      answers: how many rows of the outbox wait to be published
      sql: select count(*) as value from public.event_outbox where status = 'PENDING'
      unit: count                  # percent, count, bytes, seconds, days
      worse: above                 # below: smaller is worse
      warn: 1000
      crit: 10000
      advice: Look whether the publisher runs.
      profiles: [daily, deploy]    # all of them when it is left out

schedule:                          # what "dbops schedule" hands to cron, systemd, Kubernetes or pg_cron
  - name: partitions
    cron: '0 2 * * *'              # minute, hour, day of month, month, day of week; or @daily
    run: partition ensure          # a command without the word dbops
    timezone: Asia/Seoul
    timeLimit: 30 min              # then it is asked to end, and killed 10 s later
    notify:
      webhook: https://hooks.example.com/T000/B000    # gets JSON when the job has ended
      healthcheck: https://hc-ping.com/00000000-0000-0000-0000-000000000000
  - name: analyze-cases
    cron: '0 3 * * sun'
    sql: analyze public.cases      # one statement instead of a command
`;
