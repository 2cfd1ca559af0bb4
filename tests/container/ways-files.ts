/**
 * Ways out by files: from inside, and by what an instance lays down for the file routes and for the server
 * itself, which runs as root.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { answer, rooms, type Way, type World } from './way.ts';

const inside = (tries: string, sees: RegExp, script: (world: World) => string): Way => ({
  family: 'files',
  from: 'isolated',
  tries,
  sees,
  run: (world) => world.inside(rooms.isolated, script(world)),
});

const outside = (tries: string, sees: RegExp, run: Way['run']): Way => ({
  family: 'files',
  from: 'outside',
  tries,
  sees,
  run,
});

const control = (way: Way): Way => ({ ...way, isControl: true });
const readOnly = /Read-only file system$/;
const absent = /No such file or directory$/;
const BOX = `storage/instances/${rooms.isolated}`;

const own: readonly Way[] = [
  control(
    inside('its own inbox, written', /^mine$/, () => 'echo mine > /mnt/inbox/own && cat /mnt/inbox/own'),
  ),
  control(inside('global, read', /^for all$/, () => 'cat /mnt/global/notice.txt')),
  inside('global, written', readOnly, () => 'echo x > /mnt/global/notice.txt'),
  inside('a file made in global', readOnly, () => 'touch /mnt/global/mine'),
  inside('a file removed from global', readOnly, () => 'rm -f /mnt/global/notice.txt'),
  inside('the mode of a file in global', readOnly, () => 'chmod 777 /mnt/global/notice.txt'),
  inside(
    'a file of global under another name',
    /Invalid cross-device link$/,
    () => 'ln /mnt/global/notice.txt /mnt/outbox/g',
  ),
  inside('the root of its files', readOnly, () => 'touch /x'),
  inside('a program', readOnly, () => 'touch /usr/local/bin/x'),
  inside('the list of users', /(Read-only file system|Permission denied)$/, () => 'echo x >> /etc/passwd'),
  inside('its own credentials, written', readOnly, () => 'touch /opt/agentic/credentials/x'),
  inside(
    'the place of its socket',
    readOnly,
    () => 'rm -f /opt/agentic/socket/s; touch /opt/agentic/socket/x',
  ),
  inside('the socket of its models', readOnly, () => 'touch /opt/agentic/models/x'),
];

const others: readonly Way[] = [
  inside('the server’s data', absent, ({ dataDir }) => `ls ${dataDir}/secrets`),
  inside('the journal', absent, ({ dataDir }) => `cat ${dataDir}/journal.db`),
  inside('a file of this machine', absent, ({ outside: at }) => `cat ${at}/secret.txt`),
  inside(
    'another instance’s inbox, by its path',
    absent,
    ({ dataDir, instanceId }) => `ls ${dataDir}/agentshare/instances/${instanceId.other}/inbox`,
  ),
  inside(
    'another instance’s inbox, by going up',
    absent,
    ({ instanceId }) => `ls /mnt/inbox/../../${instanceId.other}/inbox`,
  ),
  inside(
    'another instance’s home',
    absent,
    ({ dataDir }) => `ls ${dataDir}/instances/${rooms.neighbour}/home`,
  ),
  inside('the files of another’s task', absent, ({ dataDir }) => `ls ${dataDir}/agentshare/tasks/*/inbox`),
];

/** Laid down before anything is asked of the routes. */
const laid = async ({ inside: run, outside: at, instanceId }: World): Promise<string> =>
  await run(
    rooms.isolated,
    [
      'cd /mnt/outbox && rm -rf passwd etc proc neighbour hard first pipe && echo fine > fine.txt',
      `ln -s ${at}/secret.txt passwd; ln -s ${at} etc; ln -s /proc/self/root proc`,
      `ln -s ../../${instanceId.other}/inbox neighbour`,
      'echo two > first && ln first hard; mkfifo pipe',
      `cd /mnt/inbox && rm -rf out && ln -s ${at} out; echo laid`,
    ].join('; '),
  );

const linked = (tries: string, path: string, sees: RegExp): Way =>
  outside(tries, sees, async (world) => {
    const did = await laid(world);
    if (!did.endsWith('laid')) return `not laid: ${did}`;
    return await answer(await world.call('GET', `${BOX}/outbox/_download?${path}`));
  });

const notThere = /^404 [\s\S]*not-found/;

const routes: readonly Way[] = [
  control(linked('a file of its outbox', 'path=fine.txt', /^200 fine$/m)),
  linked('a link to a file of this machine', 'path=passwd', notThere),
  linked('a link to a directory of this machine', 'path=etc/secret.txt', notThere),
  linked('a link to the root of whoever reads it', 'path=proc/etc/hostname', notThere),
  linked('a link to another’s inbox', 'path=neighbour/kept.txt', notThere),
  linked('a file with two names', 'path=hard', /^409 [\s\S]*wrong-state/),
  linked('a pipe that nobody writes to', 'path=pipe', /^409 [\s\S]*wrong-state/),
  linked('a path that goes up', 'path=../../secret.txt', /^400 [\s\S]*bad-input/),
  linked('a path that goes up, by its bytes', 'raw_path=%252e%252e%252fsecret.txt', /^400 [\s\S]*bad-input/),
  linked('a path from the root', 'path=/etc/passwd', /^400 [\s\S]*bad-input/),
  outside('the list of a directory behind a link', notThere, async (world) => {
    await laid(world);
    return await answer(await world.call('GET', `${BOX}/outbox?path=etc`));
  }),
  outside('a file that is sent through a link', /^(404|409) .* nothing is there$/, async (world) => {
    await laid(world);
    const put = await world.call('PUT', `${BOX}/inbox?path=out/evil.txt`, { body: 'evil' });
    const { status } = put;
    await put.text();
    return `${status} and ${existsSync(join(world.outside, 'evil.txt')) ? 'it' : 'nothing'} is there`;
  }),
  outside('a directory that is removed through a link', /^200 and it is all there$/, async (world) => {
    await laid(world);
    const { status } = await world.call('DELETE', `${BOX}/inbox?path=out&recursive=true`);
    return `${status} and it is ${existsSync(join(world.outside, 'secret.txt')) ? 'all there' : 'gone'}`;
  }),
];

const swapped = outside(
  'a link exchanged while it is read',
  /^its own, then refused, never ours$/,
  async (world) => {
    const { inside: run, outside: at, call } = world;
    await run(
      rooms.isolated,
      'cd /mnt/outbox && rm -rf real door stop && mkdir real && echo own > real/secret.txt',
    );
    const swapping = run(
      rooms.isolated,
      `cd /mnt/outbox; for i in $(seq 100000); do [ -e stop ] && break; mv -T real door; mv -T door real; ln -s ${at} door; rm door; done; echo over`,
    );
    const seen = new Set<string>();
    for (let i = 0; i < 2_000 && (i < 200 || seen.size < 2); i++) {
      const got = await answer(await call('GET', `${BOX}/outbox/_download?path=door/secret.txt`));
      seen.add(got.startsWith('200 own') ? 'its own' : got.startsWith('404 ') ? 'refused' : got);
    }
    await run(rooms.isolated, 'touch /mnt/outbox/stop');
    await swapping;
    const strange = [...seen].filter((one) => one !== 'its own' && one !== 'refused');
    return strange[0] ?? `${[...seen].sort().join(', then ')}, never ours`;
  },
);

const untouched = (world: World): string => {
  const names = readdirSync(world.outside).sort().join(' ');
  const text = readFileSync(join(world.outside, 'secret.txt'), 'utf8').trim();
  return `${names}: ${text}`;
};
const asItWas = /^secret\.txt: not yours$/;

const written: readonly Way[] = [
  outside('the logs of its runs led elsewhere', asItWas, async (world) => {
    const { outside: at, inside: run } = world;
    await run(rooms.isolated, `cd /mnt/outbox && rm -rf runs && ln -s ${at} runs; echo one`);
    await run(rooms.isolated, 'echo two');
    await run(rooms.isolated, 'rm -f /mnt/outbox/runs');
    return untouched(world);
  }),
];

export const fileWays: readonly Way[] = [...own, ...others, ...routes, swapped, ...written];
