/**
 * What is let loose in a container: each ends by itself after its seconds, whatever its limits do.
 *
 * Each is one script of shell that says last, on a line of its own, what stopped it, as far as it can tell.
 */
const MIB = 1024 * 1024;

export interface Storm {
  readonly name: string;
  readonly script: string;
}

/** Every process goes on making more until the end; who ends is reaped by nobody's help. */
const forkBomb = (seconds: number): string => `perl -e '
  $SIG{CHLD} = "IGNORE";
  my ($first, $end, $made, $refused) = ($$, time + ${seconds}, 0, 0);
  while (time < $end) { my $child = fork; defined $child ? $child && $made++ : $refused++; }
  print "the first process made $made, and was refused $refused\\n" if $$ == $first;'`;

/** Takes more than the limit again and again: whoever is killed is followed by the next. */
const memoryHog = (seconds: number, bytes: number): string => `
  end=$((SECONDS + ${seconds})) killed=0 had=0
  while [ $SECONDS -lt $end ]; do
    perl -e 'my @a; push @a, "x" x 10_000_000 for 1 .. ${Math.ceil(bytes / 10e6)}' 2>/dev/null
    [ $? = 137 ] && killed=$((killed + 1)) || had=$((had + 1))
  done 2>/dev/null
  echo "$killed killed, $had had it all"`;

/** Where somebody inside might write; the last is the root itself. */
const places = ['/tmp', '/var/tmp', '/dev/shm', '/run', '"$HOME"', '/srv/work', '/opt/agentic/spool', '/'];

/** Each place, one after the other, until it takes no more. */
const diskFiller = (bytes: number): string => `
  for place in ${places.join(' ')}; do
    said=$(dd if=/dev/zero of="$place/fill" bs=1M count=${Math.ceil(bytes / MIB)} 2>&1); code=$?
    size=$(stat -c %s "$place/fill" 2>/dev/null || echo 0); rm -f "$place/fill" 2>/dev/null
    why=$(echo "$said" | grep -o 'No space left on device\\|quota exceeded\\|Read-only file system\\|Permission denied' | head -n 1)
    [ $code = 137 ] && why='killed: memory'
    echo "$place: $((size / ${MIB})) MiB, \${why:-nothing stopped it}"
  done`;

/** `diskBytes` null: nothing holds its disk. */
export const storms = (seconds: number, limitBytes: number, diskBytes: number | null): readonly Storm[] => [
  { name: 'fork bomb', script: forkBomb(seconds) },
  { name: 'memory hog', script: memoryHog(seconds, 3 * limitBytes) },
  { name: 'disk filler', script: diskFiller(Math.max(2 * limitBytes, (diskBytes ?? 0) + limitBytes)) },
];
