/**
 * The terminal's colours: dark in both themes, because programs choose their colours for a dark terminal.
 *
 * Each but black is at least 4.5:1 on the background, so that dim output is still read.
 */
import type { ITheme } from '@xterm/xterm';

export const terminalTheme: ITheme = {
  background: '#0c0e12',
  foreground: '#dfe3ea',
  cursor: '#ffc65c',
  cursorAccent: '#0c0e12',
  selectionBackground: '#3b55e666',
  black: '#1b1f27',
  red: '#ff7b7f',
  green: '#6fd088',
  yellow: '#f0c25a',
  blue: '#7fa6ff',
  magenta: '#d39bf7',
  cyan: '#5fd0d6',
  white: '#dfe3ea',
  brightBlack: '#949eae',
  brightRed: '#ffa0a2',
  brightGreen: '#98e4a9',
  brightYellow: '#ffdc8a',
  brightBlue: '#a9c3ff',
  brightMagenta: '#e4befc',
  brightCyan: '#93e6ea',
  brightWhite: '#ffffff',
};
