# generation.pl DIRECTORY STATUS COMMAND...: runs COMMAND as start_server would,
# with SERVER_STARTER_GENERATION, and lists those that run in the file STATUS.
use strict;
use warnings;
use Fcntl ':flock';

my ($dir, $status, @command) = @ARGV;

# The lines of a file, changed by one process at a time.
sub change {
	my ($file, $change) = @_;
	open my $lock, '>', "$dir/lock" or die $!;
	flock $lock, LOCK_EX or die $!;
	my @lines;
	if (open my $from, '<', $file) { @lines = <$from> }
	my @now = $change->(@lines);
	if (!@now) { unlink $file; return }
	open my $to, '>', "$file.new" or die $!;
	print {$to} @now;
	close $to;
	rename "$file.new", $file or die $!;
}

my $generation;
change("$dir/generation", sub { $generation = ($_[0] // 0) + 1; $generation });
$ENV{SERVER_STARTER_GENERATION} = $generation;
exec @command if $status eq '';

my $pid = fork // die $!;
if (!$pid) { exec @command or die $! }
my $line = "$generation:$pid\n";
change($status, sub { sort @_, $line });
$SIG{$_} = sub { kill $_[0], $pid } for qw(TERM USR1 INT HUP);
1 while waitpid($pid, 0) != $pid;
change($status, sub { grep { $_ ne $line } @_ });
exit($? >> 8);
