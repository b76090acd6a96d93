"""Runs a command on a terminal of its own, and types Ctrl-C there once a text was seen. Says how the command ended."""

import fcntl
import os
import pty
import signal
import struct
import sys
import termios

wanted, command = sys.argv[1].encode(), sys.argv[2:]
child, terminal = pty.fork()
if child == 0:
    # Whoever starts tests in the background may have had it ignored; at a terminal it is not.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    os.execvp(command[0], command)
seen, typed = b"", False
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:  # nobody has the terminal open any more
        break
    if not piece:
        break
    os.write(1, piece)
    seen += piece
    if not typed and wanted in seen:
        os.write(terminal, b"\x03")
        typed = True
_, status = os.waitpid(child, 0)
print(f"\nended with {os.waitstatus_to_exitcode(status)}")
