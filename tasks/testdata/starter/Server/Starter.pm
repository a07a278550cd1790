# Stands in for Server::Starter, so that its own tests try lifeline: the options of
# start_server are mapped to lifeline's. What has no counterpart dies by name.
package Server::Starter;
use strict;
use warnings;
use Exporter 'import';
our @EXPORT_OK = qw(start_server server_ports);

sub start_server {
	my $o = ref $_[0] ? shift : {@_};
	my @line = ('--respawn', '--on-hup', 'reload', '--reload-retries', 1000);
	my $interval = delete $o->{interval} // 1;
	push @line, '--respawn-delay', "${interval}s";
	for my $at (map { ref ? @$_ : $_ } grep { defined } delete $o->{port}) {
		$at =~ /=/ and die "start_server: a descriptor's number can't be asked for ($at)\n";
		my ($host, $udp, $port) = $at =~ /^(?:(.*):)?(u?)(\d+)$/ or die "start_server: port $at\n";
		$host = defined $host ? $host =~ s/^\[(.*)\]$/$1/r : '0.0.0.0';
		my $scheme = $udp ? 'udp' : 'tcp';
		push @line, '--listen', $host =~ /:/ ? "${scheme}6://[$host]:$port" : "${scheme}4://$host:$port";
	}
	push @line, '--listen', "unix://$_?mode=0777" for map { ref ? @$_ : $_ } grep { defined } delete $o->{path};
	my $hup = delete $o->{signal_on_hup};
	push @line, '--stop-signal', $hup if $hup;
	my $auto = delete $o->{enable_auto_restart};
	my $old = delete $o->{kill_old_delay} // ($auto ? 5 : 0);
	push @line, '--ready-after', $interval + $old . 's';
	my $every = delete $o->{auto_restart_interval};
	push @line, '--recycle-after', $interval + ($every // 360) . 's' if $auto; # it counts from the interval's end
	my $dir = delete $o->{dir};
	push @line, '--chdir', $dir if defined $dir;
	my $exec = delete $o->{exec};
	my $status = delete $o->{status_file};
	die "start_server: no counterpart of ", join(', ', sort keys %$o), "\n" if %$o;
	# A generation's number and the status file are start_server's own: a program
	# between keeps them.
	my ($here) = $INC{'Server/Starter.pm'} =~ m{(.*)/Starter\.pm$};
	my $counts = File::Temp::tempdir(CLEANUP => 0);
	exec 'lifeline', '--dir', "$counts/state", @line, 'starter', '--', $^X, "$here/Starter/generation.pl", $counts, $status // '', @$exec;
	die "lifeline: $!";
}

sub server_ports {
	return {map { /^(.*)=(\d+)$/ ? ($1 => $2) : () } split /;/, $ENV{SERVER_STARTER_PORT} // die "no SERVER_STARTER_PORT\n"};
}

require File::Temp;
1;
