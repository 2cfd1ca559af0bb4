/**
 * What programs ask a terminal that @xterm/headless leaves to a renderer: the colours, as a dark terminal has
 * them.
 */
import type { Terminal } from '@xterm/headless';

/** OSC 10 foreground, 11 background, 12 cursor: as XParseColor writes them (xterm, Control Sequences). */
const colours: Readonly<Record<number, string>> = {
  10: 'rgb:e6e6/e6e6/e6e6',
  11: 'rgb:1010/1414/1818',
  12: 'rgb:e6e6/e6e6/e6e6',
};

export function answerColours(terminal: Terminal, reply: (text: string) => void): void {
  for (const [code, colour] of Object.entries(colours)) {
    terminal.parser.registerOscHandler(Number(code), (data) => {
      if (data === '?') reply(`\x1b]${code};${colour}\x1b\\`);
      return true;
    });
  }
}
