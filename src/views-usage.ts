/** What models cost, and what instances use, as the outside sees it (src/views.ts). */

export interface UsageView {
  requests: number;
  input_tokens: number;
  output_tokens: number;
  cache_read_tokens: number;
  cache_write_tokens: number;
  total_tokens: number;
  /** Of the requests whose model has a price; null when none has. */
  cost_usd: number | null;
  unpriced_requests: number;
}

export interface BudgetView {
  tokens: number | null;
  usd: number | null;
  tokens_left: number | null;
  usd_left: number | null;
}

/** What models cost, as far as memory reaches: of agents for 40 days, until they are archived. */
export interface UsageReport {
  total: UsageView;
  days: (UsageView & { day: string })[];
  models: (UsageView & { model: string })[];
  agents: (UsageView & { agent_id: string; days: (UsageView & { day: string; model: string })[] })[];
  /** Newest first. */
  tasks: (UsageView & { task_id: string; name: string; budget: BudgetView | null })[];
}

/** What an instance uses, by its runtime's own measure. All null: it does not run. */
export interface InstanceUseView {
  measured_at: string;
  /** Since the last look, of one processor; 0 at the first look. */
  cpu_percent: number | null;
  memory_bytes: number | null;
  processes: number | null;
}
