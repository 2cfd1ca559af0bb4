/**
 * Programs of an ordinary Debian that ask on a line. Some need packages: unzip, whiptail, dialog,
 * openssh-server, …
 */
import type { RecordingCase, Step } from './case.ts';

const repository = `git init -q -b main . && git config user.name Dev && git config user.email dev@example.org &&
  printf 'one\\ntwo\\n' > notes.txt && git add . && git commit -q -m first && printf 'one\\ntwo\\nthree\\n' > notes.txt && touch scratch.log build.tmp`;

type Rest = Partial<RecordingCase> & { readonly until?: RegExp };

function asks(
  name: string,
  run: string,
  kind: 'confirm' | 'choice' | 'text' | 'secret',
  question: string,
  rest: Rest = {},
): RecordingCase {
  const { until, ...more } = rest;
  const steps: readonly Step[] = more.steps ?? [
    { until: until ?? new RegExp(question.replace(/[^\w ]/g, '.').slice(0, 25)) },
  ];
  return { name, run, expected: { asking: true, kind, question, ...more.expected }, ...without(more), steps };
}

function without(rest: Partial<RecordingCase>): Partial<RecordingCase> {
  const { expected: _, ...more } = rest;
  return more;
}

const n = (options: number) => ({ expected: { asking: true, options } });
const script = (lines: string) => ({ setup: `cat > run.sh <<'END'\n${lines}\nEND` });

const git401 = async () => {
  const server = Bun.serve({
    port: 24103,
    hostname: '127.0.0.1',
    fetch: () => new Response('no', { status: 401, headers: { 'www-authenticate': 'Basic realm="git"' } }),
  });
  return () => server.stop(true);
};
const sshd = `sudo -n true 2>/dev/null; ssh-keygen -q -t ed25519 -N '' -f ~/host_key && cat > ~/sshd_config <<END
Port 24104
ListenAddress 127.0.0.1
HostKey /home/dev/host_key
PidFile none
UsePAM no
END
(/usr/sbin/sshd -D -f ~/sshd_config -E ~/sshd.log & echo $! > ~/sshd.pid; sleep 60; kill $(cat ~/sshd.pid)) > /dev/null 2>&1 & sleep 0.5`;
const deb = `for v in 1 2; do mkdir -p p$v/DEBIAN p$v/etc; printf 'Package: demo\\nVersion: %s.0\\nArchitecture: all\\nMaintainer: Dev <dev@example.org>\\nDescription: demo\\n' $v > p$v/DEBIAN/control
  echo /etc/demo.conf > p$v/DEBIAN/conffiles; echo "level=$v" > p$v/etc/demo.conf; dpkg-deb --root-owner-group --build p$v demo_$v.deb > /dev/null; done
  mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/lib/dpkg/triggers; touch root/var/lib/dpkg/status root/var/lib/dpkg/available
  dpkg --root=$PWD/root --force-all --log=/dev/null -i demo_1.deb > /dev/null 2>&1; echo level=9 > root/etc/demo.conf`;

export const cases: readonly RecordingCase[] = [
  asks('git-add-patch', 'git add -p', 'choice', 'Stage this hunk', { setup: repository }),
  asks('git-clean-interactive', 'git clean -i', 'choice', 'What now', { setup: repository, ...n(6) }),
  asks('git-add-interactive', 'git add -i', 'choice', 'What now', { setup: repository, ...n(8) }),
  asks('git-username', 'git clone http://127.0.0.1:24103/team/app.git', 'text', 'Username for', {
    before: git401,
  }),
  asks('git-password', 'git clone http://dev@127.0.0.1:24103/team/app.git', 'secret', 'Password for', {
    before: git401,
  }),
  asks('git-mergetool', 'git mergetool', 'confirm', 'Was the merge successful', {
    setup: `${repository}; git checkout -q -- . ; git checkout -q -b b; echo b > notes.txt; git commit -qam b; git checkout -q main; echo m > notes.txt; git commit -qam m; git merge -q b > /dev/null; git config merge.tool t; git config mergetool.t.cmd true; git config mergetool.prompt false`,
    ...n(2),
  }),
  asks('rm-interactive', 'rm -i notes.txt', 'confirm', "remove regular file 'notes.txt'?", {
    setup: 'echo keep > notes.txt',
    ...n(2),
  }),
  asks('rm-directory', 'rm -ri build', 'confirm', "descend into directory 'build'?", {
    setup: 'mkdir build; touch build/a',
    ...n(2),
  }),
  asks('cp-interactive', 'cp -i a b', 'confirm', "overwrite 'b'?", {
    setup: 'echo a > a; echo b > b',
    ...n(2),
  }),
  asks('find-ok', `find . -name '*.tmp' -ok rm {} ';'`, 'confirm', 'rm ', {
    setup: 'touch a.tmp',
    until: /\?/,
  }),
  asks('apt-remove', 'apt-get remove htop', 'confirm', 'Do you want to continue?', {
    asRoot: true,
    ...n(2),
    scrub: [[/disk space/g, 'disk space']],
  }),
  asks('apt-narrow', 'apt-get remove htop', 'confirm', 'Do you want to continue?', {
    asRoot: true,
    cols: 40,
    ...n(2),
  }),
  asks(
    'dpkg-conffile',
    'dpkg --root=/home/dev/project/root --force-script-chrootless --log=/dev/null -i demo_2.deb',
    'choice',
    'demo.conf',
    { asRoot: true, setup: deb, until: /default=N/ },
  ),
  asks(
    'ssh-host-key',
    'ssh -p 24104 dev@127.0.0.1',
    'confirm',
    'Are you sure you want to continue connecting',
    {
      asRoot: true,
      setup: sshd,
      until: /continue connecting/,
      scrub: [[/SHA256:[\w+/]+/g, 'SHA256:abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ']],
    },
  ),
  asks(
    'ssh-password',
    'ssh -p 24104 -o StrictHostKeyChecking=no -o PubkeyAuthentication=no dev@127.0.0.1',
    'secret',
    'password:',
    { asRoot: true, setup: sshd, until: /password:/ },
  ),
  asks('ssh-keygen-file', 'ssh-keygen -t ed25519', 'text', 'Enter file in which to save the key', {}),
  asks('ssh-keygen-passphrase', `ssh-keygen -t ed25519 -f id`, 'secret', 'Enter passphrase', {}),
  asks('sudo-password', 'sudo id', 'secret', '[sudo] password for dev:', { until: /password for/ }),
  asks('sudo-again', 'sudo id', 'secret', '[sudo] password for dev:', {
    steps: [{ until: /password for/ }, { keys: 'wrong\r' }, { until: /try again/ }],
  }),
  asks('su-password', 'su -', 'secret', 'Password:'),
  asks('passwd', 'passwd', 'secret', 'Current password:'),
  asks('openssl-enc', 'openssl enc -aes-256-cbc -pbkdf2 -in a -out b', 'secret', 'password:', {
    setup: 'echo a > a',
    until: /password:/,
  }),
  asks(
    'openssl-req',
    'openssl req -new -newkey rsa:2048 -nodes -keyout k.pem -out r.pem',
    'text',
    'Country Name',
    { until: /\[AU\]:/, scrub: [[/[.+*]{20,}/g, '....']] },
  ),
  asks('gpg-symmetric', 'gpg --symmetric a', 'secret', 'Enter passphrase', {
    setup: 'echo a > a; export GPG_TTY=$(tty)',
    until: /assphrase/,
  }),
  asks('gpg-key-kind', 'gpg --full-generate-key', 'choice', 'Your selection?', {
    until: /selection/,
    expected: { asking: true, options: 7 },
  }),
  asks('unzip-replace', 'unzip a.zip', 'choice', 'replace notes.txt?', {
    setup: 'echo a > notes.txt; zip -q a.zip notes.txt',
    ...n(5),
  }),
  asks('tzselect', 'tzselect', 'choice', '#?', { until: /#\?/, rows: 30 }),
  asks('debconf-readline', 'dpkg-reconfigure tzdata', 'choice', 'Geographic area', {
    asRoot: true,
    env: { DEBIAN_FRONTEND: 'readline', HOME: '/home/dev' },
    until: /Geographic area:/,
    rows: 40,
  }),
  asks('npm-init', 'npm init', 'text', 'package name:', { until: /package name/ }),
  asks('npm-init-ok', 'npm init', 'confirm', 'Is this OK?', {
    steps: [
      { until: /package name/ },
      ...'12345678'.split('').flatMap((): Step[] => [{ keys: '\r' }, { pause: 250 }]),
      { pause: 250 },
      { keys: '\r' },
      { until: /Is this OK/ },
    ],
  }),
  asks('npm-login', 'npm login --registry http://127.0.0.1:24103 --auth-type=legacy', 'text', 'Username:', {
    before: git401,
  }),
  asks(
    'python-input',
    `/usr/bin/python3 -c 'input("How many rows should be kept? ")'`,
    'text',
    'How many rows should be kept?',
  ),
  asks(
    'python-getpass',
    `/usr/bin/python3 -c 'import getpass; getpass.getpass("Database password: ")'`,
    'secret',
    'Database password:',
  ),
  asks('python-city', `/usr/bin/python3 -c 'input("City:")'`, 'text', 'City:'),
  asks('bash-select', 'bash run.sh', 'choice', '#?', {
    ...script(
      'echo "Which environment do you want to deploy to?"\nselect e in staging production cancel; do break; done',
    ),
    until: /#\?/,
    ...n(3),
  }),
  asks('bash-read-yn', 'bash run.sh', 'confirm', 'Deploy to production now?', {
    ...script('echo "Building..."; echo "Tests passed: 12"\nread -r -p "Deploy to production now? [y/N] " a'),
    ...n(2),
  }),
  asks(
    'bash-read-key',
    'bash run.sh',
    'confirm',
    'Remove the old release?',
    script('read -n 1 -p "Remove the old release? (y/n) " a'),
  ),
  asks(
    'bash-read-wrapped',
    'bash run.sh',
    'confirm',
    'this cannot be undone, and every customer will notice it within seconds',
    {
      ...script(
        'read -r -p "You are about to drop the production database on the primary; this cannot be undone, and every customer will notice it within seconds. Continue? (yes/no): " a',
      ),
      until: /yes.no/,
      cols: 60,
      ...n(2),
    },
  ),
  asks(
    'bash-read-name',
    'bash run.sh',
    'text',
    'Release name',
    script('read -r -p "Release name [v1.2.3]: " a'),
  ),
  asks('bash-read-secret', 'bash run.sh', 'secret', 'Token:', script('read -r -s -p "Token: " a')),
  asks('bash-menu', 'bash run.sh', 'choice', 'Enter your choice [1-4]:', {
    ...script(
      'echo "=== Main menu ==="\necho "1. Start service"; echo "2. Stop service"; echo "3. Show logs"; echo "4. Quit"\necho\nread -r -p "Enter your choice [1-4]: " a',
    ),
    until: /choice/,
    ...n(4),
  }),
  asks(
    'press-enter',
    'bash run.sh',
    'confirm',
    'Press ENTER to continue',
    script('echo "Backup finished."\nread -r -p "Press ENTER to continue..." a'),
  ),
  asks(
    'press-any-key',
    'bash run.sh',
    'confirm',
    'Press any key to continue',
    script('read -n 1 -s -r -p "Press any key to continue"'),
  ),
  asks('abort-retry', 'bash run.sh', 'choice', 'Disk full', {
    ...script('read -r -p "Disk full. (A)bort, (R)etry, (I)gnore? " a'),
    ...n(3),
  }),
  asks('terraform-like', 'bash run.sh', 'confirm', 'Do you want to perform these actions?', {
    ...script(
      `printf "Plan: 1 to add, 0 to change, 2 to destroy.\\n\\nDo you want to perform these actions?\\n  Only 'yes' will be accepted to approve.\\n\\n  Enter a value: "; read a`,
    ),
    until: /Enter a value/,
  }),
  asks('german', 'bash run.sh', 'confirm', 'Möchten Sie fortfahren?', {
    ...script('read -r -p "Möchten Sie fortfahren? [J/n] " a'),
    until: /fortfahren/,
    ...n(2),
  }),
  asks(
    'whiptail-yesno',
    `whiptail --title 'Upgrade' --yesno 'Upgrade the database now?' 10 50`,
    'confirm',
    'Upgrade the database now?',
    n(2),
  ),
  asks(
    'whiptail-menu',
    `whiptail --title 'Boot' --menu 'Choose a kernel' 15 50 3 1 'linux 6.1' 2 'linux 6.6' 3 'memtest'`,
    'choice',
    'Choose a kernel',
    n(3),
  ),
  asks(
    'whiptail-password',
    `whiptail --passwordbox 'Password for the admin account' 10 50`,
    'secret',
    'Password for the admin account',
  ),
  asks(
    'whiptail-input',
    `whiptail --inputbox 'Name of this machine' 10 50 box`,
    'text',
    'Name of this machine',
  ),
  asks(
    'dialog-yesno',
    `dialog --yesno 'Restart the services?' 7 40`,
    'confirm',
    'Restart the services?',
    n(2),
  ),
  asks('nano-save', 'nano notes.txt', 'confirm', 'Save modified buffer?', {
    setup: 'echo a > notes.txt',
    steps: [
      { until: /notes.txt/ },
      { keys: 'x' },
      { settle: 300 },
      { keys: '\x18' },
      { until: /Save modified/ },
    ],
  }),
  asks('vim-swap', 'vim -u NONE notes.txt', 'choice', 'Swap file', {
    setup: `echo a > notes.txt; (TERM=xterm timeout 2 script -qc 'vim -u NONE -c "normal ox" -c preserve notes.txt' /dev/null > /dev/null 2>&1 < /dev/null || true); cp .notes.txt.swp k 2> /dev/null || true`,
    until: /Swap file/,
  }),
  asks('scrolled-then-asked', 'bash run.sh', 'confirm', 'Proceed with the migration?', {
    ...script(
      'for i in $(seq 1 60); do echo "row $i: would you like tea? (y/n) n"; done\nread -r -p "Proceed with the migration? (yes/no) " a',
    ),
    ...n(2),
  }),
  asks(
    'resized',
    'bash run.sh',
    'confirm',
    'Are you sure you want to overwrite the existing configuration file?',
    {
      ...script('read -r -p "Are you sure you want to overwrite the existing configuration file? [y/N] " a'),
      cols: 100,
      steps: [{ until: /Are you sure/ }, { resize: [50, 20] }, { settle: 300 }],
    },
  ),
];
