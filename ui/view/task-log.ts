/**
 * What a task says, live: a coding agent's stream as words and tool calls, anything else as lines. Resumes
 * where it broke.
 */
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type LogLine, logReader } from '../tasks/log-lines.ts';
import { segment } from '../wire/api.ts';
import type { Problem } from '../wire/problem.ts';
import { follow } from '../wire/sse.ts';
import { h } from './h.ts';
import { Empty, TroubleBox } from './marks.ts';

const linesKept = 5000;

interface Log {
  readonly lines: readonly LogLine[];
  readonly dropped: number;
  readonly state: 'connecting' | 'live' | 'lost' | 'refused' | 'done';
  readonly problem: Problem | null;
}

function useLog(taskId: string): Log {
  const [log, setLog] = useState<Log>({ lines: [], dropped: 0, state: 'connecting', problem: null });
  useEffect(() => {
    const read = logReader();
    let isDone = false;
    let fresh: LogLine[] = [];
    let frame = 0;
    const draw = () => {
      frame = 0;
      const added = fresh;
      fresh = [];
      setLog((before) => {
        const all = [...before.lines, ...added];
        const dropped = Math.max(0, all.length - linesKept);
        return {
          ...before,
          lines: dropped > 0 ? all.slice(dropped) : all,
          dropped: before.dropped + dropped,
        };
      });
    };
    const stop = follow({
      path: `tasks/${segment(taskId)}/logs`,
      onEvent: (event) => {
        fresh.push(...read(event));
        if (event.event === 'completed') isDone = true;
        // One redraw per frame, however much a flood brings.
        if (frame === 0) frame = requestAnimationFrame(draw);
      },
      onState: (state, problem) => setLog((before) => ({ ...before, state, problem })),
      isDone: () => {
        if (isDone) setLog((before) => ({ ...before, state: 'done' }));
        return isDone;
      },
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [taskId]);
  return log;
}

const stateWords: Readonly<Record<Log['state'], string>> = {
  connecting: 'Connecting…',
  live: 'Live',
  lost: 'Connection lost. It resumes where it broke.',
  refused: 'Not available',
  done: 'Complete',
};

export function TaskLog({ taskId }: { taskId: string }): VNode {
  const log = useLog(taskId);
  const box = useRef<HTMLDivElement>(null);
  const [isFollowing, setFollowing] = useState(true);
  useEffect(() => {
    if (isFollowing && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [log.lines, isFollowing]);
  const onScroll = () => {
    const element = box.current;
    if (element) setFollowing(element.scrollHeight - element.scrollTop - element.clientHeight < 40);
  };
  return h('div', { class: 'log-frame' }, [
    h('header', { class: 'log-head' }, [
      h(
        'span',
        {
          class: `state tone-${log.state === 'live' ? 'good' : log.state === 'done' ? 'idle' : 'warn'}`,
          'data-testid': 'log-state',
          'data-state': log.state,
        },
        [h('span', { class: 'dot', 'aria-hidden': 'true' }), stateWords[log.state]],
      ),
      log.dropped > 0 ? h('span', { class: 'muted' }, `${log.dropped} earlier lines not shown`) : null,
      isFollowing
        ? null
        : h(
            'button',
            { type: 'button', class: 'link push', onClick: () => setFollowing(true) },
            'Follow the end',
          ),
    ]),
    log.problem && log.state === 'refused' ? h(TroubleBox, { problem: log.problem }) : null,
    log.lines.length === 0 && log.state !== 'refused'
      ? h(Empty, { title: log.state === 'done' ? 'It said nothing.' : 'Nothing said yet.' })
      : null,
    h(
      'div',
      {
        ref: box,
        class: 'log',
        onScroll,
        tabIndex: 0,
        role: 'log',
        'aria-live': 'off',
        'aria-label': 'Log of the task',
        'data-testid': 'task-log',
      },
      log.lines.map((line) => h(Line, { key: line.id, line })),
    ),
  ]);
}

const foldedChars = 2000;

function Line({ line }: { line: LogLine }): VNode {
  const [isWhole, setWhole] = useState(false);
  const isLong = !isWhole && line.text.length > foldedChars;
  return h('div', { class: `line ${line.tone}` }, [
    line.lead ? h('span', { class: 'lead' }, line.lead) : null,
    h('span', { class: 'line-text' }, isLong ? line.text.slice(0, foldedChars) : line.text),
    isLong
      ? h(
          'button',
          { type: 'button', class: 'link', onClick: () => setWhole(true) },
          `… ${line.text.length - foldedChars} more characters`,
        )
      : null,
  ]);
}
