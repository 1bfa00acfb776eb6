# Perl: HTTP::Tiny, which is part of it. Prints NAME OPERATION ok|what.
use strict;
use warnings;
use HTTP::Tiny;

my $base = shift;
my $http = HTTP::Tiny->new(keep_alive => 1, timeout => 20);

sub attempt {
    my ($operation, $wanted, $method, %options) = @_;
    my $answer = $http->request($method, "$base/c", \%options);
    my $got = $answer->{content} // '';
    my $good = $answer->{status} == 200 && $got eq $wanted;
    print "perl-HTTP::Tiny $operation ", ($good ? "ok" : "FAILED $answer->{status} $got"), "\n";
}

my @pieces = ('he', 'llo');
attempt('get', 'GET 0', 'GET');
attempt('post', 'POST 5', 'POST', content => 'hello');
attempt('chunked', 'POST 5', 'POST', content => sub { shift @pieces });
attempt('expect', 'POST 5', 'POST', content => 'hello', headers => { Expect => '100-continue' });
attempt('head', '', 'HEAD');
attempt('keep-alive', 'GET 0', 'GET');
