/** Questions to a human: the inbox, the answer, and questions that programs ask by API. */
import { t } from 'elysia';
import type { HitlDesk } from '../desk.ts';
import { Failure } from '../failure.ts';
import { integer, json, type Route, route, strict } from './route.ts';
import * as schemas from './schemas.ts';

const TEXT_MAX = 64 << 10;
const EXPIRES_MS_MAX = 31_536_000_000;

const answer = strict({
  text: t.Optional(t.String({ maxLength: TEXT_MAX, description: 'typed as it is, then entered' })),
  response: t.Optional(t.String({ maxLength: TEXT_MAX, description: 'another name of text' })),
  option: t.Optional(t.String({ maxLength: 200, description: 'the id of one of the options' })),
});

const question = strict({
  session_id: t.String({ minLength: 1 }),
  prompt: t.String({ minLength: 1, maxLength: 4_096 }),
  context: t.Optional(t.String({ maxLength: TEXT_MAX })),
  kind: t.Optional(
    t.Union([t.Literal('confirm'), t.Literal('choice'), t.Literal('text'), t.Literal('secret')]),
  ),
  options: t.Optional(
    t.Array(
      strict({
        id: t.String({ minLength: 1, maxLength: 200 }),
        label: t.String({ minLength: 1, maxLength: 1_000 }),
        keys: t.Optional(
          t.String({ maxLength: 1_000, description: 'what is typed for it; its id and Enter when absent' }),
        ),
      }),
      { maxItems: 100 },
    ),
  ),
  expires_in_ms: t.Optional(integer({ minimum: 1, maximum: EXPIRES_MS_MAX })),
});

export function hitlRoutes(desk: HitlDesk): Route[] {
  const tag = 'questions';
  return [
    route({
      method: 'GET',
      path: '/api/v1/hitl',
      role: 'viewer',
      tag,
      summary: 'Open questions, oldest first; `state=all` for those that have ended too',
      query: t.Object({
        state: t.Optional(t.Union([t.Literal('open'), t.Literal('all')])),
        agent: t.Optional(t.String()),
        session: t.Optional(t.String()),
      }),
      answers: { 200: json('the list', t.Object({ requests: t.Array(schemas.hitl) })) },
      run: ({ query: { state, agent, session } }) => ({
        requests: desk.list({
          ...(state ? { state } : {}),
          ...(agent ? { agent } : {}),
          ...(session ? { session } : {}),
        }),
      }),
    }),
    route({
      method: 'GET',
      path: '/api/v1/hitl/:id',
      role: 'viewer',
      tag,
      summary: 'One question',
      answers: { 200: json('it', schemas.hitl) },
      run({ params }) {
        const found = desk.find(params['id'] ?? '');
        if (!found)
          throw new Failure(
            'not-found',
            `there is no question "${params['id']}"; see GET /api/v1/hitl?state=all`,
          );
        return found;
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/hitl/:id/respond',
      role: 'operator',
      tag,
      summary:
        'Answers it; the first answer wins. Whether it took shows in its state: answered or undeliverable',
      body: answer,
      answers: { 202: json('the answer is durable and being typed', schemas.hitl) },
      run({ params, body, caller }) {
        const text = body.text ?? body.response;
        const given = [body.text, body.response, body.option].filter((one) => one !== undefined);
        if (given.length !== 1) {
          throw new Failure('bad-input', 'give exactly one of text and option', {
            faults: [{ path: 'text', message: 'or option; exactly one of them' }],
          });
        }
        return desk.answer(
          params['id'] ?? '',
          text === undefined ? { option: body.option ?? '' } : { text },
          caller.name,
        );
      },
    }),
    route({
      method: 'POST',
      path: '/api/v1/hitl/:id/withdraw',
      role: 'operator',
      tag,
      summary: 'Takes it back unanswered',
      answers: { 200: json('it is withdrawn', schemas.hitl) },
      run: ({ params, caller }) => desk.withdraw(params['id'] ?? '', caller.name),
    }),
    route({
      method: 'POST',
      path: '/api/v1/agents/:id/hitl',
      role: 'operator',
      tag,
      summary: 'Asks a human on behalf of a session; 409 while it has an open question',
      body: question,
      answers: { 201: json('it is asked', t.Object({ hitl_id: t.String(), request: schemas.hitl })) },
      async run({ params, body, caller }) {
        const { session_id: sessionId, prompt, context = '', options = [] } = body;
        const kind = body.kind ?? (options.length > 0 ? 'choice' : 'text');
        const wanted = {
          sessionId,
          prompt,
          context,
          kind,
          options: [...options],
          expiresInMs: body.expires_in_ms ?? null,
        };
        const request = await desk.ask(params['id'] ?? '', wanted, caller.name);
        return { hitl_id: request.hitl_id, request };
      },
    }),
  ];
}
