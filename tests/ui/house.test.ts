/** What the page knows: lists and events in any order come to the server's state. */
import { describe, expect, test } from 'bun:test';
import type { EventView, HitlView, SessionView, TaskView } from '../../src/views.ts';
import {
  emptyHouse,
  eventsKept,
  type House,
  isOlder,
  withEvents,
  withHistory,
  withSnapshot,
} from '../../ui/state/house.ts';
import { answerWords, choicesOf, contextLines, stateSentence, takesText } from '../../ui/state/questions.ts';
import { eventsMatching, openQuestions, sessionsInOrder, tasksMatching } from '../../ui/state/readings.ts';

const event = (id: number, actor: string, data: unknown): EventView => {
  return { id, actor, kind: 'x', event_type: `x.${id}`, timestamp: '', data };
};
const taskOf = (id: string, state: string, more: Partial<TaskView> = {}) =>
  ({
    id,
    name: id,
    tool: 'command',
    state,
    created_at: id,
    agent_id: null,
    repository: null,
    ...more,
  }) as TaskView;
const sessionOf = (id: string, more: Partial<SessionView> = {}) =>
  ({
    session_id: id,
    agent_id: 'local',
    state: 'live',
    created_at: id,
    ended_at: null,
    hitl_id: null,
    output_bytes: 0,
    controller: null,
    observers: [],
    ...more,
  }) as SessionView;
const questionOf = (id: string, more: Partial<HitlView> = {}) =>
  ({
    hitl_id: id,
    agent_id: 'local',
    session_id: 's',
    state: 'open',
    kind: 'confirm',
    options: [],
    prompt: 'Sure?',
    created_at_ms: 1,
    expires_at_ms: null,
    ended_at_ms: null,
    answer: null,
    ...more,
  }) as HitlView;

const states = (house: House) => [...house.tasks.values()].map(({ id, state }) => `${id} ${state}`).sort();

describe('the house', () => {
  test('is the same whether an event came before its list or after', () => {
    const started = event(1, 'task:a', taskOf('a', 'RUNNING'));
    const ended = event(2, 'task:a', taskOf('a', 'COMPLETED'));
    const snapshot = { tasks: [taskOf('a', 'RUNNING')], tasksTotal: 1 };
    const after = withEvents(withSnapshot(emptyHouse, snapshot), [started, ended]);
    const between = withEvents(withSnapshot(withEvents(emptyHouse, [started]), snapshot), [ended]);
    expect(states(after)).toEqual(['a COMPLETED']);
    expect(states(between)).toEqual(states(after));
    expect([after.tasksTotal, between.tasksTotal]).toEqual([1, 1]);
  });

  test('takes an event once', () => {
    const house = withEvents(emptyHouse, [event(5, 'task:a', taskOf('a', 'COMPLETED'))]);
    expect(withEvents(house, [event(5, 'task:a', taskOf('a', 'RUNNING'))])).toBe(house);
    expect(withEvents(house, [event(4, 'task:a', taskOf('a', 'RUNNING'))])).toBe(house);
  });

  test('forgets what is gone, and survives what it does not know', () => {
    const agent = {
      id: 'local',
      state: 'ready',
      metrics: { cpu_percent: 1 },
      system_info: null,
      last_heartbeat: 7,
    };
    const house = withEvents(emptyHouse, [
      event(1, 'agent:local', agent),
      event(2, 'of-tomorrow:1', { id: 'x' }),
      event(3, 'task:b', null),
      event(4, 'agent:local', { ...agent, state: 'busy', metrics: null, last_heartbeat: null }),
    ]);
    expect(house.agents.get('local')).toMatchObject({
      state: 'busy',
      metrics: { cpu_percent: 1 },
      last_heartbeat: 7,
    });
    expect(withEvents(house, [event(5, 'agent:local', { ...agent, state: 'gone' })]).agents.size).toBe(0);
  });

  test('keeps what is counted when an event does not carry it', () => {
    const before = withSnapshot(emptyHouse, {
      sessions: [sessionOf('s', { output_bytes: 900, observers: ['ada'] })],
    });
    const asked = withEvents(before, [event(1, 'session:s', sessionOf('s', { hitl_id: 'q' }))]);
    expect(asked.sessions.get('s')).toMatchObject({ hitl_id: 'q', output_bytes: 900, observers: ['ada'] });
    const over = withEvents(asked, [
      event(2, 'session:s', sessionOf('s', { state: 'exited', ended_at: 'x' })),
    ]);
    expect(over.sessions.get('s')).toMatchObject({ output_bytes: 900, observers: [], controller: null });
  });

  test('takes no answer that is older than what an event has told', () => {
    const early = { state_changed_at: '2026-01-01T00:00:00.001Z' };
    const late = { state_changed_at: '2026-01-01T00:00:00.002Z' };
    expect([
      isOlder(early, late),
      isOlder(late, early),
      isOlder(late, late),
      isOlder(early, undefined),
    ]).toEqual([true, false, false, false]);
  });

  test('keeps the newest events, and history before them', () => {
    const all = Array.from({ length: eventsKept + 50 }, (_, i) => event(i + 1, 'task:a', null));
    const house = withHistory(withEvents(emptyHouse, all.slice(300)), all.slice(0, 310));
    expect(house.events.length).toBe(eventsKept);
    expect(house.events[0]?.id).toBe(51);
    expect(house.events.map(({ id }) => id)).toEqual(all.slice(50).map(({ id }) => id));
  });
});

describe('readings', () => {
  test('put first what expires first, then what has waited longest', () => {
    const questions = [
      questionOf('late', { created_at_ms: 9 }),
      questionOf('soon', { expires_at_ms: 5, created_at_ms: 8 }),
      questionOf('old'),
      questionOf('over', { state: 'answered' }),
    ];
    const house = withSnapshot(emptyHouse, { questions });
    expect(openQuestions(house).map(({ hitl_id }) => hitl_id)).toEqual(['soon', 'old', 'late']);
  });

  test('put live sessions before ended ones, and those that ask before both', () => {
    const sessions = [sessionOf('3', { state: 'exited' }), sessionOf('1', { hitl_id: 'q' }), sessionOf('2')];
    const house = withSnapshot(emptyHouse, { sessions });
    expect(sessionsInOrder(house).map(({ session_id }) => session_id)).toEqual(['1', '2', '3']);
    expect(sessionsInOrder(house, 'other')).toEqual([]);
  });

  test('find tasks by group and words, events by kind', () => {
    const tasks = [
      taskOf('1', 'RUNNING', { waiting_for_human: true }),
      taskOf('2', 'FAILED_PRESERVED'),
      taskOf('3', 'COMPLETED', { agent_id: 'Builder' }),
    ];
    const house = withSnapshot(emptyHouse, { tasks, tasksTotal: 3 });
    const found = (group: 'all' | 'waiting' | 'failed' | 'active', words = '') =>
      tasksMatching(house, { group, words }).map(({ id }) => id);
    expect([found('all'), found('waiting'), found('failed'), found('all', ' builder')]).toEqual([
      ['3', '2', '1'],
      ['1'],
      ['2'],
      ['3'],
    ]);
    const events = [event(1, 'task:a', null), event(2, 'agent:b', null), event(3, 'task:c', null)];
    const ids = eventsMatching(events, { kinds: new Set(['task']), words: '' }).map(({ id }) => id);
    expect(ids).toEqual([3, 1]);
  });
});

describe('a question', () => {
  test('is answered by number, and by letter where it is yes or no', () => {
    const options = [
      { id: 'o1', label: 'Yes, always' },
      { id: 'o2', label: 'No' },
      { id: 'o3', label: 'Later' },
    ];
    const keys = (question: HitlView) => choicesOf(question).map((choice) => choice.keys.join(''));
    expect(keys(questionOf('q', { options }))).toEqual(['y1', 'n2', '3']);
    expect(keys(questionOf('q', { options, kind: 'choice' }))).toEqual(['1', '2', '3']);
    expect(keys(questionOf('q'))).toEqual(['y1', 'n2']);
    expect(keys(questionOf('q', { options, kind: 'secret' }))).toEqual([]);
    expect([takesText(questionOf('q')), takesText(questionOf('q', { kind: 'secret' }))]).toEqual([
      false,
      true,
    ]);
  });

  test('never tells a secret', () => {
    const answer = { option: null, text: null, by: 'ada', at_ms: 1 };
    const question = questionOf('q', { kind: 'secret', state: 'answered', answer });
    expect(answerWords(question)).toBe('a secret');
    expect(stateSentence(question)).toBe('Answered by ada: a secret');
  });

  test('has a context whose rules and blanks are no wider than a card', () => {
    const context = `╭${'─'.repeat(118)}╮\n│ left${' '.repeat(100)}right │   \n  --- \n\n\n`;
    expect(contextLines(context)).toEqual([`╭${'─'.repeat(24)}╮`, '│ left    right │', '  ---']);
  });
});
