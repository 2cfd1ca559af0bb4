/**
 * Keeps a viewer's terminal from answering the program: exactly one terminal answers, and that is the
 * server's screen.
 *
 * Two fences. `silenceQueries` swallows the questions before xterm.js sees them, which is exact.
 * `isAutomaticReply` catches at the exit what only a machine would say. A cursor position report is left to
 * the first fence alone: it is spelled like Shift+F3, and a key a person pressed must arrive.
 */
import type { IDisposable, IParser } from '@xterm/xterm';

/** Registers a handler per query; each claims the sequence, so that xterm.js says nothing. */
export function silenceQueries(parser: IParser): IDisposable[] {
  const swallow = () => true;
  const asksColor = (payload: string) => payload.includes('?');
  return [
    // Device attributes, first to third.
    parser.registerCsiHandler({ final: 'c' }, swallow),
    parser.registerCsiHandler({ prefix: '>', final: 'c' }, swallow),
    parser.registerCsiHandler({ prefix: '=', final: 'c' }, swallow),
    // Status and cursor position.
    parser.registerCsiHandler({ final: 'n' }, swallow),
    parser.registerCsiHandler({ prefix: '?', final: 'n' }, swallow),
    // Mode requests, version, keyboard protocol, window reports.
    parser.registerCsiHandler({ intermediates: '$', final: 'p' }, swallow),
    parser.registerCsiHandler({ prefix: '?', intermediates: '$', final: 'p' }, swallow),
    parser.registerCsiHandler({ prefix: '>', final: 'q' }, swallow),
    parser.registerCsiHandler({ prefix: '?', final: 'u' }, swallow),
    parser.registerCsiHandler(
      { final: 't' },
      ([first]) => typeof first === 'number' && first >= 11 && first <= 21,
    ),
    parser.registerDcsHandler({ intermediates: '$', final: 'q' }, swallow),
    parser.registerDcsHandler({ intermediates: '+', final: 'q' }, swallow),
    // Colours: asking is swallowed, setting is not.
    ...[4, 10, 11, 12].map((ident) => parser.registerOscHandler(ident, asksColor)),
    // The clipboard is the reader's: a program may neither read nor write it from here.
    parser.registerOscHandler(52, swallow),
  ];
}

const replies = [
  /^\x1b\[[?>=][\d;]*c$/, // device attributes
  /^\x1b\[\??\d+;\d+\$y$/, // mode report
  /^\x1b\[0n$/, // "I am well"
  /^\x1b\[\?\d+(;\d+)*[Rnu]$/, // extended cursor position, status, keyboard flags
  /^\x1b\[[468];\d+;\d+t$/, // window size
  /^\x1b\[[IO]$/, // focus came or went: a viewer's focus is not the program's business
  /^\x1b\](4|1[0-2]);[^\x07\x1b]*(\x07|\x1b\\)$/, // colours
  /^\x1bP[^\x1b]*\x1b\\$/, // settings, version, termcap
];

/** True for what no key and no paste produces. */
export function isAutomaticReply(text: string): boolean {
  return text.charCodeAt(0) === 0x1b && replies.some((reply) => reply.test(text));
}
