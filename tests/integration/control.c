/* Stops the control thread; see control.h. */
#include "control.h"

#include <signal.h>
#include <unistd.h>

void control_init(struct control *c)
{
    (void)snprintf(c->folder, sizeof c->folder, "/tmp/late-mail-XXXXXX");
    assert_non_null(mkdtemp(c->folder));
    (void)snprintf(c->stop, sizeof c->stop, "%s/stop", c->folder);
    (void)snprintf(c->stopped, sizeof c->stopped, "%s.done", c->stop);
    (void)snprintf(c->env_stop, sizeof c->env_stop, "LATE_MAIL=%s", c->stop);
    c->env[0] = "LD_PRELOAD=" LATE_MAIL;
    c->env[1] = c->env_stop;
    c->env[2] = NULL;
}

void control_stops(struct control *c, struct world *w, const char *settings)
{
    char base[96], token[96], path[128];
    struct answer a = { 0 };

    /* No other mail may be under way: while one lies there, the next needs no write, by which
     * late_mail.so knows it. So first the control thread sends what it still has to send, and
     * then the worker takes it. */
    for (int turns = 0; turns < 4; turns++) {
        if (turns < 2)
            http_get(proxy_admin_port(w->proxy), "/healthz", &a);
        else
            http_call(w->port, "TRACE", "/x", NULL, NULL, &a);
        assert_int_equal(a.status, turns < 2 ? 200 : 405);
    }
    answer_free(&a);
    int64_t deadline_ms = now_ms() + SOON_MS;
    (void)snprintf(base, sizeof base, "%s/v0", peer_url(w->api));
    (void)snprintf(token, sizeof token, "%s/v0/token", peer_url(tokens_peer(w->tokens)));
    struct bytes ini = world_ini(base, token, settings);
    (void)snprintf(path, sizeof path, "%s/oneshot-proxy.ini", proxy_dir(w->proxy));
    write_file(path, bytes_text(&ini));
    write_file(c->stop, "");
    proxy_signal(w->proxy, SIGHUP);
    while (access(c->stopped, F_OK) != 0)
        assert_true(ask_again(deadline_ms));
    bytes_free(&ini);
}

void control_goes_on(struct control *c)
{
    (void)unlink(c->stopped);
    (void)rmdir(c->folder);
}
