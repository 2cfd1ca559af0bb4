/** Agents: what is known of each, and the life of the instance each of them lives in. */
import { t } from 'elysia';
import type { AgentDesk, InstanceDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import { json, type Route, route } from './route.ts';
import * as schemas from './schemas.ts';

export function agentRoutes({ agents, instances }: { agents: AgentDesk; instances: InstanceDesk }): Route[] {
  const tag = 'agents';
  const ofInstance = (id: string): string => {
    if (instances.find(id)) return id;
    if (!agents.find(id)) throw new Failure('not-found', `there is no agent "${id}"; see GET /api/v1/agents`);
    throw new Failure(
      'wrong-state',
      `agent ${id} was not started by this server; start and stop it where it runs`,
    );
  };
  const verb = (name: 'start' | 'stop' | 'destroy' | 'reprovision', summary: string) =>
    route({
      method: 'POST',
      path: `/api/v1/agents/:id/${name}`,
      role: 'operator',
      tag,
      summary,
      answers: { 200: json('the instance', schemas.instance) },
      run: ({ params, caller }) => {
        const id = ofInstance(params['id'] ?? '');
        return name === 'stop' ? instances.stop(id, null, caller.name) : instances[name](id, caller.name);
      },
    });
  return [
    route({
      method: 'GET',
      path: '/api/v1/agents',
      role: 'viewer',
      tag,
      summary: 'Every agent, with its state and newest figures',
      answers: { 200: json('the list', t.Object({ agents: t.Array(schemas.agent) })) },
      run: () => ({ agents: agents.list() }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/agents/:id',
      role: 'viewer',
      tag,
      summary: 'One agent',
      answers: { 200: json('it', schemas.agent) },
      run({ params }) {
        const found = agents.find(params['id'] ?? '');
        if (!found)
          throw new Failure('not-found', `there is no agent "${params['id']}"; see GET /api/v1/agents`);
        return found;
      },
    }),
    verb('start', 'Starts its instance'),
    verb('stop', 'Stops its instance'),
    verb('destroy', 'Destroys its instance'),
    verb('reprovision', 'Makes its instance anew'),
    route({
      method: 'DELETE',
      path: '/api/v1/agents/:id',
      role: 'operator',
      tag,
      summary: 'Destroys its instance',
      answers: { 200: json('the instance', schemas.instance) },
      run: ({ params, caller }) => instances.destroy(ofInstance(params['id'] ?? ''), caller.name),
    }),
    route({
      method: 'POST',
      path: '/api/v1/agents/:id/rotate-secret',
      role: 'operator',
      tag,
      summary: 'Retired: agents prove themselves by their transport',
      answers: { 410: json('it is gone for good', schemas.problemSchema) },
      run() {
        throw new Failure(
          'gone',
          'shared secrets were retired; reprovision the instance to give it a new identity',
        );
      },
    }),
  ];
}
