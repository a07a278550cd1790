# worker.py FILE: a worker that uses all that a supervisor hands to a newer one.
# It appends its pid to FILE, has a descriptor kept, and says READY=1. At SIGUSR1
# it says STATUS=asked and appends what its supervisor answers to a ping.
import os, signal, socket, sys

def line(text):
    with open(sys.argv[1], "a") as f:
        f.write(text + "\n")

def say(text, fds=()):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        socket.send_fds(s, [text.encode()], fds)

supervisor = socket.socket(fileno=int(os.environ["LIFELINE_FD"]))
supervisor.setblocking(True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
kept = os.environ.get("LISTEN_FDNAMES", "").split(":").count("kept")
line(f"{os.getpid()} {kept}")
if not kept:
    say("FDSTORE=1\nFDNAME=kept", [os.open("/dev/null", os.O_RDONLY)])
say("READY=1\nSTATUS=serving")
while signal.sigwait([signal.SIGUSR1]):
    supervisor.sendall(b"ping\n")
    line(supervisor.recv(100).decode().strip())
    say("STATUS=asked")
