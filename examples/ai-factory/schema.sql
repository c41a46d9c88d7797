-- AI Factory: fifteen tables partitioned by time, as a plant's decision system keeps them.
--
--   psql "$DATABASE_URL" -X -v ON_ERROR_STOP=1 --single-transaction -f schema.sql
--
-- Load it as the owner of an empty database (PostgreSQL 14 or later). The role needs CREATEROLE, or the
-- roles ai_factory_app and ai_factory_report have to exist already.
--
-- Partitions are created up to and including the current period, and none for the future: that is the work
-- of `dbops partition ensure`. To pretend another day:
--   PGOPTIONS="-c ai_factory.now=2026-07-15" psql ...

-- A bound of a timestamptz key is an instant. Without this a month would begin at the midnight of whatever
-- time zone the server or the role is set to.
set timezone to 'UTC';

-- Roles belong to the cluster, so they may exist, and another session may be creating them right now.
do $$
declare
  wanted text;
begin
  foreach wanted in array array['ai_factory_app', 'ai_factory_report'] loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
      begin
        execute format('create role %I nologin', wanted);
      exception
        when duplicate_object or unique_violation then null;
      end;
    end if;
  end loop;
end
$$;

-- Tables that are not partitioned. The foreign keys that point here show which locks an attach takes.

create table public.tenants (
  id uuid primary key default gen_random_uuid(),
  name text not null unique,
  display_name text not null,
  status text not null default 'active' check (status in ('active', 'suspended', 'closed')),
  settings jsonb not null default '{}',
  created_at timestamptz not null default now()
);
comment on table public.tenants is 'Customers of the platform, one row a plant operator.';
create index idx_tenants_status on public.tenants (status) where status = 'active';

create table public.workflows (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id),
  name text not null,
  version integer not null default 1 check (version > 0),
  dsl jsonb not null default '{}',
  dsl_digest text not null,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  unique (tenant_id, name, version)
);
comment on table public.workflows is 'Workflow definitions; a change is a new version.';
create index idx_workflows_tenant_active on public.workflows (tenant_id, is_active) where is_active = true;
create index idx_workflows_dsl_digest on public.workflows (dsl_digest);

-- Decisions, workflows and calls: by month.

create table public.judgment_executions (
  id uuid not null default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id),
  workflow_id uuid not null references public.workflows (id),
  trace_id text not null,
  method text not null check (method in ('rule_only', 'llm_only', 'hybrid_weighted')),
  result text not null check (result in ('pass', 'fail', 'review', 'error')),
  confidence numeric(5, 4) check (confidence between 0 and 1),
  input_data jsonb not null default '{}',
  evidence jsonb,
  cache_key text,
  cache_hit boolean not null default false,
  duration_ms integer not null check (duration_ms >= 0),
  created_at timestamptz not null default now(),
  primary key (id, created_at)
) partition by range (created_at);
comment on table public.judgment_executions is 'Every decision that was made, with what it was made from.';
comment on column public.judgment_executions.created_at is 'Partition key, by month in UTC.';
comment on column public.judgment_executions.evidence is 'Rules that matched and passages that were cited.';
create index idx_judgment_exec_tenant_created on public.judgment_executions (tenant_id, created_at desc);
create index idx_judgment_exec_workflow on public.judgment_executions (workflow_id, created_at desc);
create index idx_judgment_exec_result on public.judgment_executions (tenant_id, result, created_at desc);
create index idx_judgment_exec_trace on public.judgment_executions (trace_id);
create index idx_judgment_exec_cache_key on public.judgment_executions (cache_key) where cache_hit = true;
create index idx_judgment_exec_input_data on public.judgment_executions using gin (input_data);

create table public.workflow_instances (
  id uuid not null default gen_random_uuid(),
  tenant_id uuid not null references public.tenants (id),
  workflow_id uuid not null references public.workflows (id),
  trace_id text not null,
  status text not null default 'running'
    check (status in ('running', 'waiting', 'completed', 'failed', 'cancelled')),
  context jsonb not null default '{}',
  started_at timestamptz not null default now(),
  ended_at timestamptz check (ended_at >= started_at),
  primary key (id, started_at)
) partition by range (started_at);
comment on table public.workflow_instances is 'Runs of a workflow.';
comment on column public.workflow_instances.started_at is 'Partition key, by month in UTC.';
create index idx_wf_instances_tenant_status on public.workflow_instances (tenant_id, status);
create index idx_wf_instances_workflow_started on public.workflow_instances (workflow_id, started_at desc);
create index idx_wf_instances_trace on public.workflow_instances (trace_id);

create table public.workflow_execution_logs (
  id uuid not null default gen_random_uuid(),
  tenant_id uuid not null,
  instance_id uuid not null,
  node_id text not null,
  attempt smallint not null default 1,
  status text not null check (status in ('ok', 'failed', 'skipped')),
  message text,
  duration_ms integer not null,
  started_at timestamptz not null default now(),
  primary key (id, started_at)
) partition by range (started_at);
comment on table public.workflow_execution_logs is 'Steps of a workflow run, one row an attempt.';
comment on column public.workflow_execution_logs.instance_id is
  'Run in workflow_instances. No foreign key: one between partitioned tables would keep old runs from being detached.';
comment on column public.workflow_execution_logs.started_at is 'Partition key, by month in UTC.';
create index idx_wf_exec_logs_tenant_started on public.workflow_execution_logs (tenant_id, started_at desc);
create index idx_wf_exec_logs_instance on public.workflow_execution_logs (instance_id, started_at);

create table public.llm_calls (
  id uuid not null default gen_random_uuid(),
  tenant_id uuid not null,
  trace_id text not null,
  model text not null,
  purpose text not null,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  cost_usd numeric(12, 6) not null,
  latency_ms integer not null,
  status text not null check (status in ('ok', 'timeout', 'error')),
  created_at timestamptz not null default now(),
  primary key (id, created_at)
) partition by range (created_at);
comment on table public.llm_calls is 'Calls to language models: tokens, cost, latency.';
comment on column public.llm_calls.created_at is 'Partition key, by month in UTC.';
create index idx_llm_calls_tenant_created on public.llm_calls (tenant_id, created_at desc);
create index idx_llm_calls_trace on public.llm_calls (trace_id);

create table public.mcp_call_logs (
  id uuid not null default gen_random_uuid(),
  tenant_id uuid not null,
  trace_id text not null,
  server_name text not null,
  tool_name text not null,
  arguments jsonb not null default '{}',
  is_error boolean not null default false,
  duration_ms integer not null,
  created_at timestamptz not null default now(),
  primary key (id, created_at)
) partition by range (created_at);
comment on table public.mcp_call_logs is 'Calls to tools over the model context protocol.';
comment on column public.mcp_call_logs.created_at is 'Partition key, by month in UTC.';
create index idx_mcp_call_logs_tenant_created on public.mcp_call_logs (tenant_id, created_at desc);
create index idx_mcp_call_logs_tool on public.mcp_call_logs (server_name, tool_name, created_at desc);

create table public.audit_logs (
  id uuid not null default gen_random_uuid(),
  tenant_id uuid not null,
  actor_id uuid,
  action text not null,
  resource_type text not null,
  resource_id uuid,
  ip_address inet,
  user_agent text,
  detail jsonb not null default '{}',
  created_at timestamptz not null default now(),
  primary key (id, created_at)
) partition by range (created_at);
comment on table public.audit_logs is 'Who did what, kept for years. Rows of a tenant are seen by that tenant only.';
comment on column public.audit_logs.ip_address is 'Personal data: reporting may not read it.';
comment on column public.audit_logs.created_at is 'Partition key, by month in UTC.';
create index idx_audit_logs_tenant_created on public.audit_logs (tenant_id, created_at desc);
create index idx_audit_logs_resource on public.audit_logs (resource_type, resource_id, created_at desc);

-- Events as they come from the plant's systems: by month.

create table public.raw_mes_production (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  line_code text not null,
  equipment_code text not null,
  product_code text not null,
  lot_no text not null,
  quantity_good integer not null,
  quantity_bad integer not null,
  payload jsonb not null,
  event_time timestamptz not null,
  ingested_at timestamptz not null default now(),
  primary key (id, event_time)
) partition by range (event_time);
comment on table public.raw_mes_production is 'Production events of the manufacturing execution system, unchanged.';
comment on column public.raw_mes_production.event_time is 'Partition key, by month in UTC: when it happened, not when it arrived.';
create index idx_raw_mes_prod_tenant_time on public.raw_mes_production (tenant_id, event_time desc);
create index idx_raw_mes_prod_line_time on public.raw_mes_production (tenant_id, line_code, event_time desc);

create table public.raw_erp_order (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  order_no text not null,
  product_code text not null,
  quantity numeric(14, 3) not null,
  due_date date not null,
  status text not null,
  payload jsonb not null,
  event_time timestamptz not null,
  ingested_at timestamptz not null default now(),
  primary key (id, event_time)
) partition by range (event_time);
comment on table public.raw_erp_order is 'Order changes of the ERP system, unchanged.';
comment on column public.raw_erp_order.event_time is 'Partition key, by month in UTC.';
create index idx_raw_erp_order_tenant_time on public.raw_erp_order (tenant_id, event_time desc);
create index idx_raw_erp_order_no on public.raw_erp_order (tenant_id, order_no);

create table public.raw_inventory (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  warehouse_code text not null,
  material_code text not null,
  movement text not null check (movement in ('in', 'out', 'adjust')),
  quantity numeric(14, 3) not null,
  payload jsonb not null,
  event_time timestamptz not null,
  ingested_at timestamptz not null default now(),
  primary key (id, event_time)
) partition by range (event_time);
comment on table public.raw_inventory is 'Stock movements, unchanged.';
comment on column public.raw_inventory.event_time is 'Partition key, by month in UTC.';
create index idx_raw_inventory_tenant_time on public.raw_inventory (tenant_id, event_time desc);

create table public.raw_equipment_event (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  equipment_code text not null,
  event_type text not null,
  severity smallint not null check (severity between 0 and 4),
  sensor_values double precision[] not null,
  payload jsonb not null,
  event_time timestamptz not null,
  ingested_at timestamptz not null default now(),
  primary key (id, event_time)
) partition by range (event_time);
comment on table public.raw_equipment_event is 'Alarms and state changes of machines, unchanged.';
comment on column public.raw_equipment_event.event_time is 'Partition key, by month in UTC.';
create index idx_raw_equipment_tenant_time on public.raw_equipment_event (tenant_id, event_time desc);
create index idx_raw_equipment_code_time on public.raw_equipment_event (equipment_code, event_time desc);

-- Facts for reporting: by quarter, the hourly one by month.

create table public.fact_daily_production (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  date date not null,
  line_code text not null,
  product_code text not null,
  shift smallint not null check (shift between 1 and 3),
  quantity_good integer not null,
  quantity_bad integer not null,
  quantity_total integer generated always as (quantity_good + quantity_bad) stored,
  runtime_minutes integer not null,
  primary key (id, date)
) partition by range (date);
comment on table public.fact_daily_production is 'Production by day, line, product and shift.';
comment on column public.fact_daily_production.date is 'Partition key, by quarter.';
create index idx_fact_daily_prod_date on public.fact_daily_production (tenant_id, date desc);
create index idx_fact_daily_prod_line on public.fact_daily_production (tenant_id, line_code, date desc);
create index idx_fact_daily_prod_product on public.fact_daily_production (tenant_id, product_code, date desc);

create table public.fact_daily_defect (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  date date not null,
  line_code text not null,
  product_code text not null,
  defect_type text not null,
  quantity integer not null,
  primary key (id, date)
) partition by range (date);
comment on table public.fact_daily_defect is 'Defects by day, line, product and type.';
comment on column public.fact_daily_defect.date is 'Partition key, by quarter.';
create index idx_fact_daily_defect_date on public.fact_daily_defect (tenant_id, date desc);
create index idx_fact_daily_defect_type on public.fact_daily_defect (defect_type, date desc);

create table public.fact_inventory_snapshot (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  date date not null,
  warehouse_code text not null,
  material_code text not null,
  quantity_on_hand numeric(14, 3) not null,
  quantity_reserved numeric(14, 3) not null,
  primary key (id, date)
) partition by range (date);
comment on table public.fact_inventory_snapshot is 'Stock at the end of a day.';
comment on column public.fact_inventory_snapshot.date is 'Partition key, by quarter.';
create index idx_fact_inventory_date on public.fact_inventory_snapshot (tenant_id, date desc);

create table public.fact_equipment_event (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  date date not null,
  equipment_code text not null,
  event_type text not null,
  event_count integer not null,
  downtime_minutes integer not null,
  primary key (id, date)
) partition by range (date);
comment on table public.fact_equipment_event is 'Machine events by day and type.';
comment on column public.fact_equipment_event.date is 'Partition key, by quarter.';
create index idx_fact_equipment_date on public.fact_equipment_event (tenant_id, date desc);

create table public.fact_hourly_production (
  id bigint generated by default as identity,
  tenant_id uuid not null,
  hour_timestamp timestamptz not null,
  line_code text not null,
  product_code text not null,
  quantity_good integer not null,
  quantity_bad integer not null,
  primary key (id, hour_timestamp)
) partition by range (hour_timestamp);
comment on table public.fact_hourly_production is 'Production by hour, for the dashboards of the running shift.';
comment on column public.fact_hourly_production.hour_timestamp is 'Partition key, by month in UTC: the beginning of the hour.';
create index idx_fact_hourly_prod_time on public.fact_hourly_production (tenant_id, hour_timestamp desc);

-- Tables that only a condition empties, so that a partition would not go out whole: `dbops rows run` works on them.

create table public.event_outbox (
  id bigint generated by default as identity primary key,
  tenant_id uuid not null,
  topic text not null,
  payload jsonb not null,
  status text not null default 'PENDING' check (status in ('PENDING', 'PUBLISHED', 'FAILED')),
  created_at timestamptz not null default now(),
  published_at timestamptz
);
comment on table public.event_outbox is 'Events on their way to the bus; what could not be sent stays for a month.';
create index idx_event_outbox_pending on public.event_outbox (created_at) where status = 'PENDING';

create table public.watch_alerts (
  id uuid primary key default gen_random_uuid(),
  tenant_id uuid not null,
  severity text not null check (severity in ('info', 'warning', 'critical')),
  status text not null default 'open' check (status in ('open', 'acknowledged')),
  message text not null,
  created_at timestamptz not null default now(),
  acknowledged_at timestamptz
);
comment on table public.watch_alerts is 'Alerts to people; an open one is never deleted.';
create index idx_watch_alerts_open on public.watch_alerts (tenant_id, created_at desc) where status = 'open';

create table public.llm_call_logs (
  id bigint generated by default as identity primary key,
  tenant_id uuid not null,
  model text not null,
  prompt text not null,
  response text,
  created_at timestamptz not null default now()
);
comment on table public.llm_call_logs is 'What was asked of language models, word by word; personal data may be in it.';
create index idx_llm_call_logs_created on public.llm_call_logs (created_at);

-- Privileges. The application writes, reporting reads facts and decisions, and nobody changes an audit row.

grant usage on schema public to ai_factory_app, ai_factory_report;
grant select, insert, update on public.tenants, public.workflows to ai_factory_app;
grant select, insert, update on public.event_outbox, public.watch_alerts, public.llm_call_logs to ai_factory_app;
grant select on public.tenants, public.workflows to ai_factory_report;
grant select, insert, update on
  public.judgment_executions, public.workflow_instances,
  public.fact_daily_production, public.fact_daily_defect, public.fact_inventory_snapshot,
  public.fact_equipment_event, public.fact_hourly_production
  to ai_factory_app;
grant select, insert on
  public.workflow_execution_logs, public.llm_calls, public.mcp_call_logs, public.audit_logs,
  public.raw_mes_production, public.raw_erp_order, public.raw_inventory, public.raw_equipment_event
  to ai_factory_app;
grant select on
  public.judgment_executions, public.workflow_instances, public.llm_calls,
  public.fact_daily_production, public.fact_daily_defect, public.fact_inventory_snapshot,
  public.fact_equipment_event, public.fact_hourly_production
  to ai_factory_report;
-- Column by column: reporting counts actions but does not see addresses.
grant select (id, tenant_id, actor_id, action, resource_type, resource_id, created_at)
  on public.audit_logs to ai_factory_report;

alter table public.audit_logs enable row level security;
create policy audit_logs_tenant on public.audit_logs to ai_factory_app
  using (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
create policy audit_logs_report on public.audit_logs for select to ai_factory_report
  using (true);

-- Partitions up to the current period: those inside the hot retention and two periods beyond it, so that
-- there is something to archive. audit_logs has 14 past months instead of its 5 years, to load fast.
-- CREATE TABLE ... PARTITION OF locks the parent against readers and writers until the transaction ends. On
-- empty new tables that is no harm; on live ones let `dbops partition ensure` do it.
do $$
declare
  today constant timestamp :=
    coalesce(nullif(current_setting('ai_factory.now', true), '')::timestamptz, now()) at time zone 'UTC';
  item record;
  period interval;
  lower_bound timestamp;
  upper_bound timestamp;
  name_suffix text;
  beyond integer;
  created integer;
  suffix_of_bound text;
  leaf text;
  privilege record;
begin
  for item in
    select * from (values
      ('judgment_executions', 'month', interval '2 years', null::integer,
        'autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05'),
      ('workflow_instances', 'month', interval '1 year', null, null),
      ('workflow_execution_logs', 'month', interval '6 months', null, null),
      ('llm_calls', 'month', interval '6 months', null,
        'autovacuum_vacuum_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.1'),
      ('mcp_call_logs', 'month', interval '3 months', null, null),
      ('audit_logs', 'month', interval '5 years', 14, null),
      ('raw_mes_production', 'month', interval '90 days', null, null),
      ('raw_erp_order', 'month', interval '90 days', null, null),
      ('raw_inventory', 'month', interval '90 days', null, null),
      ('raw_equipment_event', 'month', interval '90 days', null, null),
      ('fact_daily_production', 'quarter', interval '2 years', null, null),
      ('fact_daily_defect', 'quarter', interval '2 years', null, null),
      ('fact_inventory_snapshot', 'quarter', interval '1 year', null, null),
      ('fact_equipment_event', 'quarter', interval '1 year', null, null),
      ('fact_hourly_production', 'month', interval '3 months', null, null)
    ) as t (table_name, unit, hot, past_periods, storage_parameters)
  loop
    period := case item.unit when 'quarter' then interval '3 months' else interval '1 month' end;
    name_suffix := case item.unit when 'quarter' then '"_y"YYYY"q"Q' else '"_y"YYYY"m"MM' end;
    -- The offset is written out for timestamptz keys, so that the bound does not depend on any setting.
    suffix_of_bound := case when item.unit = 'quarter' then '' else ' 00:00:00+00' end;
    lower_bound := date_trunc(item.unit, today);
    beyond := 0;
    created := 0;
    loop
      upper_bound := lower_bound + period;
      if upper_bound <= today - item.hot then
        beyond := beyond + 1;
      end if;
      exit when beyond > 2 or created > item.past_periods;

      leaf := item.table_name || to_char(lower_bound, name_suffix);
      execute format(
        'create table public.%I partition of public.%I for values from (%L) to (%L)',
        leaf, item.table_name,
        to_char(lower_bound, 'YYYY-MM-DD') || suffix_of_bound,
        to_char(upper_bound, 'YYYY-MM-DD') || suffix_of_bound
      );
      -- Storage parameters belong to leaves: PostgreSQL refuses them on a partitioned table.
      if item.storage_parameters is not null then
        execute format('alter table public.%I set (%s)', leaf, item.storage_parameters);
      end if;
      -- A new partition inherits neither privileges nor row security, and a query that names it directly
      -- would pass by what the parent says.
      for privilege in
        select a.privilege_type, r.rolname, null::name as column_name
        from pg_catalog.pg_class c
          cross join lateral pg_catalog.aclexplode(c.relacl) a
          join pg_catalog.pg_roles r on r.oid = a.grantee
        where c.oid = format('public.%I', item.table_name)::regclass and a.grantee <> c.relowner
        union all
        select a.privilege_type, r.rolname, t.attname
        from pg_catalog.pg_attribute t
          cross join lateral pg_catalog.aclexplode(t.attacl) a
          join pg_catalog.pg_roles r on r.oid = a.grantee
        where t.attrelid = format('public.%I', item.table_name)::regclass
      loop
        execute format(
          'grant %s %s on public.%I to %I',
          privilege.privilege_type, coalesce('(' || quote_ident(privilege.column_name) || ')', ''),
          leaf, privilege.rolname
        );
      end loop;
      if item.table_name = 'audit_logs' then
        execute format('alter table public.%I enable row level security', leaf);
        execute format(
          'create policy audit_logs_tenant on public.%I to ai_factory_app '
          'using (tenant_id = nullif(current_setting(''app.tenant_id'', true), '''')::uuid)', leaf);
        execute format(
          'create policy audit_logs_report on public.%I for select to ai_factory_report using (true)', leaf);
      end if;

      created := created + 1;
      lower_bound := lower_bound - period;
    end loop;
  end loop;
end
$$;

reset timezone;
