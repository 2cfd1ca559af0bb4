/** What models cost: by day, model, agent and task, as far as memory reaches. */
import type { AgentContext } from '../actors/agent.ts';
import { budgetView, spentView } from '../actors/spending.ts';
import type { TaskContext } from '../actors/task-ports.ts';
import type { UsageDesk } from '../desk.ts';
import { nothingSpent, plus, type Spent } from '../spending.ts';
import type { AgentView, TaskView } from '../views.ts';
import type { House } from './house.ts';

interface Line {
  readonly agent: string;
  readonly day: string;
  readonly model: string;
  readonly spent: Spent;
}

function lines({ fleet }: House): Line[] {
  return (fleet.views('agent') as AgentView[]).flatMap(({ id }) => {
    const { days = {} } = (fleet.context(`agent:${id}`) as AgentContext | null) ?? {};
    return Object.entries(days).flatMap(([day, models]) =>
      Object.entries(models).map(([model, spent]) => ({ agent: id, day, model, spent })),
    );
  });
}

function sums(all: readonly Line[], by: (line: Line) => string): [string, Spent][] {
  const sum = new Map<string, Spent>();
  for (const line of all) sum.set(by(line), plus(sum.get(by(line)) ?? nothingSpent, line.spent));
  return [...sum].sort(([a], [b]) => (a < b ? -1 : 1));
}

export function usageDesk(house: House): UsageDesk {
  const { fleet } = house;
  return {
    report({ agent, days, tasks }) {
      const from = new Date(house.clock.now() - (days - 1) * 86_400_000).toISOString().slice(0, 10);
      const all = lines(house).filter(
        (line) => line.day >= from && (agent === undefined || line.agent === agent),
      );
      const using = (fleet.views('task') as TaskView[])
        .filter(({ usage, agent_id: on }) => usage !== null && (agent === undefined || on === agent))
        .sort((a, b) => (a.created_at < b.created_at ? 1 : -1))
        .slice(0, tasks);
      return {
        total: spentView(all.reduce((sum, { spent }) => plus(sum, spent), nothingSpent)),
        days: sums(all, ({ day }) => day).map(([day, spent]) => ({ day, ...spentView(spent) })),
        models: sums(all, ({ model }) => model).map(([model, spent]) => ({ model, ...spentView(spent) })),
        agents: sums(all, (line) => line.agent).map(([id, spent]) => ({
          agent_id: id,
          ...spentView(spent),
          days: all
            .filter((line) => line.agent === id)
            .map((line) => ({ day: line.day, model: line.model, ...spentView(line.spent) })),
        })),
        tasks: using.flatMap(({ id, name }) => {
          const context = fleet.context(`task:${id}`) as TaskContext | null;
          const spent = context?.spending?.total;
          if (!spent) return [];
          return [{ task_id: id, name, ...spentView(spent), budget: budgetView(context?.budget, spent) }];
        }),
      };
    },
  };
}
