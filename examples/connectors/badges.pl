#!/usr/bin/perl
# A connector in Perl: a badge for each student, in a file of JSON lines that BADGES names.
# Sésame gives the verb, and a line for each student on standard input. It wants nothing but Perl.
use strict;
use warnings;
use Fcntl qw(:flock);
use JSON::PP;

my $json = JSON::PP->new->utf8->canonical;
my ($verb, $file) = ($ARGV[0], $ENV{BADGES});
open my $lock, '>>', "$file.lock" or exit 69;    # EX_UNAVAILABLE: the target is away
flock $lock, LOCK_EX;

my @badges;
if (open my $kept, '<', $file) { @badges = map { $json->decode($_) } <$kept> }

sub said { print $json->encode({@_}), "\n" }

sub holds {
    my ($badge, $login) = @_;
    return grep { $_->[1] eq $login } @{ $badge->{names} };
}

sub keep {
    open my $new, '>', "$file.new" or exit 69;
    print {$new} $json->encode($_), "\n" for @badges;
    close $new or exit 69;
    rename "$file.new", $file or exit 69;
}

sub apply {
    my ($change) = @_;
    my ($number, $account) = @$change{qw(student_number account)};
    if (grep { length > 60 } @{ $change->{fields}{display_name} || [] }) {
        my %why = (message => 'the name is longer than the badge', lasting => JSON::PP::true);
        return said(student_number => $number, refused => \%why);
    }
    my ($badge) = grep { defined $change->{ref} && $_->{ref} eq $change->{ref} } @badges;
    if (!$badge) {
        my @names = map { [$_, $account->{$_}[0]] } qw(login mail);
        $badge = { ref => $number, student_number => $number, fields => {}, names => \@names };
        push @badges, $badge;
    }
    $badge->{fields}{$_} = $change->{fields}{$_} for keys %{ $change->{fields} };
    $badge->{open} = $change->{open} if defined $change->{open};
}

if    ($verb eq 'probe')   { exit 0 }
elsif ($verb eq 'objects') { print $json->encode($_), "\n" for @badges }
elsif ($verb eq 'read') {
    while (my $line = <STDIN>) {
        my $asked = $json->decode($line);
        my ($number, $login) = ($asked->{student_number}, $asked->{account}{login}[0]);
        my @found = grep { $_->{student_number} eq $number || holds($_, $login) } @badges;
        said(student_number => $number, objects => \@found);
    }
}
elsif ($verb eq 'apply' || $verb eq 'close') {
    apply($json->decode($_)) while <STDIN>;
    keep();
}
elsif ($verb eq 'erase') {
    my %gone = map { $json->decode($_)->{ref} => 1 } <STDIN>;
    @badges = grep { !$gone{ $_->{ref} } } @badges;
    keep();
}
else { exit 64 }    # EX_USAGE
