import { expect, test } from 'bun:test';
import { instanceMachine } from '../../src/actors/instance.ts';
import { instanceView } from '../../src/actors/instance-view.ts';
import type { Told } from '../../src/actors/port.ts';
import { handle, instanceInput } from './inputs.ts';
import { done, failed, told, walk } from './walk.ts';

const run = (events: Parameters<typeof walk>[2]) => walk(instanceMachine, instanceInput, events);
const view = (events: Parameters<typeof walk>[2]) => instanceView(run(events).living.snapshot as never);

const created = done('create', handle, 110);
const rang = (at: number) => ({ type: 'alarm.rang', at });
const running = [created, rang(111), done('start', { ...handle, pid: 7 }, 120)];
const crash = (at: number) => ({ type: 'runtime.exited', at, reason: 'exited with 1' });

test('[I1] a running instance keeps its handle and watches what it names', () => {
  const { living } = run(running);
  expect(living.ports['watch']?.input).toEqual({ handle: { ...handle, pid: 7 } });
});

test('it makes its agent at birth and removes it at its end', () => {
  const { acts } = run([...running, { type: 'destroy', at: 200 }, done('destroy', undefined, 210)]);
  expect(acts[0]).toMatchObject({ do: 'spawn', spec: { id: 'agent:local', parent: 'instance:local' } });
  expect(told(acts, 'agent:local').at(-1)).toEqual({ type: 'remove', at: 210 });
});

test('[I2] what dies by itself is started again after its backoff, until it dies too often', () => {
  const once = run([...running, crash(200)]);
  expect(instanceView(once.living.snapshot as never)).toMatchObject({ state: 'starting', crashes: 1 });
  const again = [rang(201), done('start', handle, 202)];
  const twice = run([...running, crash(200), ...again, crash(300)]);
  expect(twice.living.ports['alarm']?.input).toEqual({ at: 800 });
  const thrice = [...running, crash(200), ...again, crash(300), ...again, crash(400)];
  expect(view(thrice)).toMatchObject({ state: 'crash-looping', reason: 'exited with 1' });
  expect(run(thrice).living.ports).toEqual({});
  const alert: object = { type: 'crashes.exceeded', at: 400, crashes: 3, reason: 'exited with 1' };
  expect(told(run(thrice).acts, 'instance:local')).toEqual([alert as Told]);
});

test('[I3] a crash-looping instance waits for an operator and keeps what it has', () => {
  const again = [rang(201), done('start', handle, 202)];
  const looping = [...running, crash(200), ...again, crash(300), ...again, crash(400)];
  expect(run([...looping, { type: 'start', at: 500 }]).ignored).toEqual(['start']);
  expect(view([...looping, { type: 'reset', at: 500 }])).toMatchObject({ state: 'stopped', crashes: 0 });
});

test('[G37] what was revoked does not come back by itself, and by an operator alone', () => {
  const out = { ...crash(200), reason: 'its identity was revoked', isRevoked: true };
  expect(view([...running, out])).toMatchObject({
    state: 'crash-looping',
    reason: 'its identity was revoked',
  });
  expect(run([...running, out]).living.ports).toEqual({});
  const again = [...running, out, { type: 'reset', at: 300 }, { type: 'start', at: 310 }];
  expect(view(again).state).toBe('starting');
});

test('[F16] an alert of its storage is taken in every state of its life, and changes nothing else', () => {
  const filled = { usedBytes: 9, limitBytes: 10 };
  const before = run(running);
  const high = run([...running, { type: 'storage.high', at: 200, ...filled }]);
  expect(high.ignored).toEqual([]);
  expect(view([...running, { type: 'storage.high', at: 200, ...filled }])).toEqual(view(running));
  expect(high.living.ports).toEqual(before.living.ports);
  expect(run([...running, { type: 'storage.relieved', at: 200, ...filled }]).ignored).toEqual([]);
});

test('[F1] its storage goes with it only when whoever destroys it says so, also after a restart', () => {
  const asked = (event: object) =>
    run([...running, { type: 'destroy', at: 200, ...event }]).living.ports['destroy']?.input;
  expect(asked({})).toMatchObject({ removesStorage: false });
  expect(asked({ removesStorage: true })).toMatchObject({ removesStorage: true });
  const twice = [
    ...running,
    { type: 'destroy', at: 200, removesStorage: true },
    { type: 'destroy', at: 201 },
  ];
  expect(run(twice).living.ports['destroy']?.input).toMatchObject({ removesStorage: true });
});

test('a start that fails counts as a crash', () => {
  expect(view([created, rang(111), failed('start', 'runtime-failed', 120)])).toMatchObject({
    state: 'starting',
    crashes: 1,
    failure: { code: 'runtime-failed' },
  });
});

test('old crashes are forgiven', () => {
  const again = (at: number) => [rang(at), done('start', handle, at)];
  const events = [...running, crash(200), ...again(201), crash(300), ...again(900), crash(70_000)];
  expect(view(events)).toMatchObject({ state: 'starting', crashes: 1 });
});

test('a restart stops and starts again; a stop meanwhile is the last word', () => {
  const restart = { type: 'restart', at: 200 };
  expect(view([...running, restart, done('stop', undefined, 210)]).state).toBe('starting');
  expect(view([...running, { type: 'stop', at: 200 }, done('stop', undefined, 210)]).state).toBe('stopped');
});

test('a reprovision goes back to provisioning with its identity', () => {
  const { living } = run([...running, { type: 'reprovision', at: 200 }, done('stop', undefined, 210)]);
  expect(living.ports['create']?.input).toEqual({ spec: instanceInput.spec, anew: true });
  expect(
    view([...running, { type: 'reprovision', at: 200 }, done('stop', undefined, 210), created]).state,
  ).toBe('starting');
});

test('what cannot be started again and again can be made anew meanwhile', () => {
  const events = [...running, crash(200), { type: 'reprovision', at: 210 }, done('stop', undefined, 220)];
  expect(view(events.slice(0, -2)).state).toBe('starting');
  expect(run(events).living.ports['create']?.input).toEqual({ spec: instanceInput.spec, anew: true });
});

test('[I6] limits that were configured anew count from then on', () => {
  const limits = { type: 'limits.changed', at: 150, crashes: { max: 0, withinMs: 60_000, backoffMs: [0] } };
  expect(view([...running, crash(200)]).state).toBe('starting');
  expect(view([...running, limits as never, crash(200)]).state).toBe('crash-looping');
});

test('[R32] what confines it is shown as its handle has it, and nothing while there is none', () => {
  expect(view(running).walls).toBeNull();
  const walls = {
    image: { name: 'base', digest: 'sha256:abc' },
    limits: { cpus: 0.5, memoryBytes: 64 },
    network: { mode: 'allowlist', allow: ['example.org'] },
    unenforced: [{ what: 'disk', why: 'nothing holds it' }],
  } as const;
  expect(view([created, rang(111), done('start', { ...handle, walls }, 120)]).walls).toEqual({
    image: { name: 'base', digest: 'sha256:abc' },
    limits: { cpus: 0.5, memory_bytes: 64, processes: null, disk_bytes: null },
    network: { mode: 'allowlist', allow: ['example.org'] },
    unenforced: [{ what: 'disk', why: 'nothing holds it' }],
  });
});
