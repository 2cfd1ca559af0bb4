/** A terminal for programs: its screen as JSON whenever it has changed, over the real terminals. */
import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { client, type Message, typed } from './socket.ts';
import { type House, house, tokens, until } from './world.ts';

let on: House;
beforeAll(async () => {
  on = await house();
});
afterAll(() => on.remove());

const at = (id: string, query = '') => `${on.wsUrl}/ws/sessions/${id}/orchestrate${query}`;
const textOf = ({ screen }: Message): string => (screen as { text: string }).text;

describe('orchestrate', () => {
  test('[W23] begins with what it is, then shows the screen, its changes, and the end', async () => {
    const { sessions } = on.desks;
    sessions.add('o1');
    sessions.say('o1', '$ first');
    const program = client(at('o1'));
    expect(await program.told('session_start')).toEqual({
      type: 'session_start',
      session_id: 'o1',
      role: 'observer',
      can_write: false,
    });
    const first = await program.told('screen_update');
    expect(program.messages.map(({ type }) => type)).toEqual(['session_start', 'screen_update']);
    expect(first).toMatchObject({
      session_id: 'o1',
      prompt_detected: false,
      screen: { rows: 24, cols: 80, text: '$ first', cursor_row: 0, cursor_col: 7, scrollback_tail: [] },
    });
    sessions.say('o1', '\r\n$ second');
    await program.told('screen_update', (message) => textOf(message).includes('second'));
    sessions.say('o1', '\r\nlast words');
    sessions.end('o1', 4);
    const end = await program.told('session_end');
    expect(end).toEqual({ type: 'session_end', session_id: 'o1', exit_code: 4, reason: 'it exited' });
    expect(textOf(program.messages.at(-2) as Message)).toContain('last words');
    expect(program.frames).toEqual([]);
    const late = client(at('o1'));
    await late.told('session_end');
    expect(late.messages.filter(({ type }) => type === 'session_end')).toHaveLength(1);
    for (const one of [program, late]) one.socket.close();
  });

  test('[W23] shows a flood as few screens, and the last one', async () => {
    const { sessions } = on.desks;
    sessions.add('o2');
    const program = client(at('o2'));
    await program.told('screen_update');
    for (let i = 0; i < 300; i++) {
      sessions.say('o2', `line ${i}\r\n`);
      if (i % 10 === 0) await Bun.sleep(1);
    }
    await program.told('screen_update', (message) => textOf(message).includes('line 299'));
    expect(program.messages.length).toBeLessThan(30);
    program.socket.close();
    await until('nobody', () => sessions.plane.find('o2' as never)?.members().observers.length === 0);
  });

  test('[W23] shows what never rests all the same', async () => {
    const { sessions } = on.desks;
    sessions.add('o3');
    const program = client(at('o3'));
    await program.told('screen_update');
    const begun = program.messages.length;
    let i = 0;
    // A spinner that turns faster than a screen comes to rest.
    const spinner = setInterval(() => sessions.say('o3', `\r${i++}`), 10);
    await until('two more screens', () => program.messages.length >= begun + 2);
    clearInterval(spinner);
    program.socket.close();
  });

  test('[W24] writes, resizes and signals for a controller, and refuses an observer by name', async () => {
    const { sessions } = on.desks;
    sessions.add('o4');
    const program = client(at('o4', '?role=controller'));
    expect(await program.told('session_start')).toMatchObject({ role: 'controller', can_write: true });
    program.say({ type: 'write', text: 'ls é\r' });
    await until('input', () => sessions.typed.get('o4') === 'ls é\r');
    program.say({ type: 'resize', cols: 90, rows: 20 });
    await program.told('screen_update', ({ screen }) => (screen as { cols: number }).cols === 90);
    program.say({ type: 'signal', signal: 'INT' });
    await until('the signal', () => on.calls.includes('signal o4 INT by local'));
    const nonsense = ['{', typed('x'), { type: 'dance' }, { type: 'write' }, { type: 'write', text: 5 }];
    for (const message of [...nonsense, { type: 'resize', cols: 1e9, rows: 1 }]) {
      program.messages.length = 0;
      program.say(message);
      expect(await program.told('error')).toMatchObject({ code: 'bad-input' });
    }
    program.messages.length = 0;
    program.say({ type: 'signal', signal: 'nonsense' });
    expect((await program.told('error'))['message']).toContain('no signal');
    const observer = client(at('o4'));
    await observer.told('session_start');
    observer.say({ type: 'write', text: 'no' });
    expect(await observer.told('error')).toMatchObject({ code: 'forbidden' });
    expect(sessions.typed.get('o4')).toBe('ls é\r');
    for (const one of [program, observer]) one.socket.close();
    expect(on.errors).toEqual([]);
  });

  test('[W24] does not give a controller to a token that may only look', async () => {
    const other = await house();
    try {
      const held = await tokens(other.access);
      other.desks.sessions.add('o5');
      const url = `${other.wsUrl}/ws/sessions/o5/orchestrate`;
      const refused = client(`${url}?role=controller&access_token=${held.viewer}`);
      await until('the refusal', () => refused.code !== null);
      expect(refused.messages).toEqual([]);
      const looking = client(`${url}?access_token=${held.viewer}`);
      await looking.told('screen_update');
      looking.socket.close();
    } finally {
      await other.remove();
    }
  });

  test('[W25] tells of a question once, when it is asked, and shows it with the screen', async () => {
    const { sessions, hitl } = on.desks;
    sessions.add('o6');
    const program = client(at('o6'));
    await program.told('screen_update');
    hitl.open({ hitl_id: 'q1', session_id: 'o6', prompt: 'Proceed?' });
    sessions.change('o6', { hitl_id: 'q1' });
    expect(await program.told('prompt_detected')).toEqual({
      type: 'prompt_detected',
      session_id: 'o6',
      prompt_text: 'Proceed?',
      confidence: 0.9,
      hitl_id: 'q1',
      options: [{ id: 'yes', label: 'Yes' }],
    });
    await program.told('screen_update', ({ prompt_text }) => prompt_text === 'Proceed?');
    const screen = await (await on.get('/api/v1/sessions/o6/screen')).json();
    expect(screen).toMatchObject({ prompt_detected: true, prompt_text: 'Proceed?' });
    sessions.say('o6', 'more');
    await program.told('screen_update', (message) => textOf(message) === 'more');
    expect(program.messages.filter(({ type }) => type === 'prompt_detected')).toHaveLength(1);
    program.socket.close();
  });
});
