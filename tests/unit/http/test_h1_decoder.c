/* h1_decoder.c: finds the lines, the body and the end of an answer, in whatever pieces it
 * arrives. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/h1_decoder.h"
#include "unit.h"

#define CHUNKED (-2)
#define UNTIL_CLOSE (-1)

/* What a reader said: each line in <>, the body in [], then `.` for the end, with what is left
 * of the input behind it, `!` for H1_BROKEN and `#` for H1_TOO_LONG. */
struct told {
    struct h1_decoder reader;
    int64_t measure; /* of the body: bytes, or one of the above */
    char text[H1_LINE_MAX + 64];
    size_t n;
    bool in_body, over;
};

static void tell(struct told *t, const char *s, size_t n)
{
    assert_true(n <= sizeof t->text - t->n);
    memcpy(t->text + t->n, s, n);
    t->n += n;
}

static void tell_piece(struct told *t, enum h1_event event, const char *s, size_t n)
{
    assert_true(n > 0);
    if (t->in_body && event == H1_BODY) {
        t->n--; /* one body, whatever its pieces */
        tell(t, s, n);
    } else {
        tell(t, event == H1_BODY ? "[" : "<", 1);
        tell(t, s, n);
    }
    tell(t, event == H1_BODY ? "]" : ">", 1);
    t->in_body = event == H1_BODY;
    if (t->reader.state == H1_HEAD && (n == 1 || (n == 2 && *s == '\r')))
        h1_decoder_body(&t->reader, t->measure == CHUNKED, t->measure);
}

/* One input, in a block of its own: a byte too far is seen by valgrind. */
static void feed(struct told *t, const char *bytes, size_t size)
{
    char *block = malloc(size);
    const char *in = block, *piece = NULL;
    size_t n = size, len = 0;
    enum h1_event event = H1_MORE;

    assert_non_null(block);
    memcpy(block, bytes, size);
    if (t->over) {
        tell(t, bytes, size);
        free(block);
        return;
    }
    while ((event = h1_decoder_next(&t->reader, &in, &n, &piece, &len)) == H1_LINE ||
           event == H1_BODY)
        tell_piece(t, event, piece, len);
    assert_ptr_equal(in + n, block + size);
    if (event == H1_END) {
        tell(t, ".", 1);
        tell(t, in, n);
        t->over = true;
    } else if (event == H1_MORE) {
        assert_int_equal(n, 0);
    } else {
        tell(t, event == H1_BROKEN ? "!" : "#", 1);
    }
    free(block);
}

static bool is_refused(const struct told *t)
{
    return t->n > 0 && (t->text[t->n - 1] == '!' || t->text[t->n - 1] == '#') && !t->over;
}

/* The first `first` bytes, then the others in pieces of `each`. */
static void check(int64_t measure, const char *s, size_t size, size_t first, size_t each,
                  const char *expected, size_t expected_len)
{
    struct told t = { .measure = measure };

    h1_decoder_init(&t.reader);
    feed(&t, s, first);
    for (size_t at = first, n = 0; at < size && !is_refused(&t); at += n) {
        n = size - at < each ? size - at : each;
        feed(&t, s + at, n);
    }
    if (t.n != expected_len || memcmp(t.text, expected, expected_len) != 0)
        print_error("%.*s\nin pieces of %zu, then %zu, is read as\n%.*s\n",
                    (int)(size < 400 ? size : 400), s, first, each,
                    (int)(t.n < 400 ? t.n : 400), t.text);
    assert_int_equal(t.n, expected_len);
    assert_memory_equal(t.text, expected, expected_len);
    h1_decoder_done(&t.reader);
}

/* Whole, in two parts at every place, and byte by byte. */
static void check_all(int64_t measure, const char *s, size_t size, const char *expected,
                      size_t expected_len)
{
    for (size_t first = 0; first <= size; first++)
        check(measure, s, size, first, size, expected, expected_len);
    check(measure, s, size, 0, 1, expected, expected_len);
}

struct row {
    const char *text, *expected;
    size_t size, expected_len;
};
#define R(t, e)                                                                            \
    {                                                                                      \
        .text = (t), .size = sizeof(t) - 1, .expected = (e), .expected_len = sizeof(e) - 1 \
    }
#define HEAD "HTTP/1.1 200 OK\r\n\r\n"
#define HEAD_TOLD "<HTTP/1.1 200 OK\r\n><\r\n>"
#define B(t, e) R(HEAD t, HEAD_TOLD e)

#define reads(measure, ...)                                                          \
    do {                                                                             \
        static const struct row rows_[] = { __VA_ARGS__ };                           \
        for (size_t i_ = 0; i_ < ARRAY_LEN(rows_); i_++)                             \
            check_all((measure), rows_[i_].text, rows_[i_].size, rows_[i_].expected, \
                      rows_[i_].expected_len);                                       \
    } while (0)

static void a_head_comes_line_by_line(void **state)
{
    (void)state;
    reads(0,
          R("HTTP/1.1 200 OK\r\nA: b\r\nC:\r\n\r\n",
            "<HTTP/1.1 200 OK\r\n><A: b\r\n><C:\r\n><\r\n>."),
          R("HTTP/1.1 200 OK\nA: b\n\n", "<HTTP/1.1 200 OK\n><A: b\n><\n>."),
          R("\r\n", "<\r\n>."), R("a\0b\rc\r\r\n\n", "<a\0b\rc\r\r\n><\n>."));
}

static void a_head_that_is_not_whole_asks_for_more(void **state)
{
    (void)state;
    reads(0, R("", ""), R("HTTP/1.1 2", ""), R("A: b\r\nC", "<A: b\r\n>"),
          R("A: b\r\n\r", "<A: b\r\n>"));
}

static void an_interim_head_is_followed_by_more_lines(void **state)
{
    static const char text[] = "HTTP/1.1 103 X\r\n\r\nHTTP/1.1 200 OK\r\n";
    const char *in = text, *piece = NULL;
    size_t n = sizeof text - 1, len = 0;
    struct h1_decoder h = { 0 };

    (void)state;
    h1_decoder_init(&h);
    for (int lines = 0; lines < 3; lines++)
        assert_int_equal(h1_decoder_next(&h, &in, &n, &piece, &len), H1_LINE);
    assert_int_equal(len, 17);
    assert_memory_equal(piece, "HTTP/1.1 200 OK\r\n", 17);
    assert_int_equal(h1_decoder_next(&h, &in, &n, &piece, &len), H1_MORE);
    h1_decoder_done(&h);
}

static void a_counted_body_ends_after_its_bytes_and_no_later(void **state)
{
    (void)state;
    reads(0, B("", "."), B("HTTP/1.1 200 OK", ".HTTP/1.1 200 OK"));
    reads(1, B("", ""), B("a", "[a]."), B("\0", "[\0]."), B("ab", "[a].b"));
    reads(5, B("hell", "[hell]"), B("hello", "[hello]."), B("\r\n\0\r\n", "[\r\n\0\r\n]."),
          B("hello, world", "[hello]., world"));
    reads(INT64_MAX, B("hello", "[hello]"));
}

static void a_body_until_close_never_ends_by_itself(void **state)
{
    (void)state;
    reads(UNTIL_CLOSE, B("", ""), B("0\r\n\r\n", "[0\r\n\r\n]"),
          B("HTTP/1.1 200 OK\r\n\r\n\0", "[HTTP/1.1 200 OK\r\n\r\n\0]"));
}

static void chunks_are_taken_apart(void **state)
{
    (void)state;
    reads(CHUNKED, B("0\r\n\r\n", "<\r\n>."), B("5\r\nhello\r\n0\r\n\r\n", "[hello]<\r\n>."),
          B("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n", "[abcde]<\r\n>."),
          B("4\r\n\r\n0\0\r\n0\r\n\r\n", "[\r\n0\0]<\r\n>."),
          B("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "[01234567890123456789]<\r\n>."),
          B("1a\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\n\r\n",
            "[abcdefghijklmnopqrstuvwxyz]<\r\n>."),
          B("00000000000000000000000002\r\nab\r\n000\r\n\r\n", "[ab]<\r\n>."),
          B("0\r\n\r\nHTTP/1.1 200 OK\r\n", "<\r\n>.HTTP/1.1 200 OK\r\n"),
          B("1\r\na\r\n0\r\n\r\n\r\n", "[a]<\r\n>.\r\n"));
}

static void extensions_of_chunks_are_passed_over(void **state)
{
    (void)state;
    reads(CHUNKED, B("1;x=y\r\na\r\n0;z\r\n\r\n", "[a]<\r\n>."),
          B("1 ; x = \"y;\" \r\na\r\n0\t;z\r\n\r\n", "[a]<\r\n>."),
          B("1;\r\na\r\n0;\r\n\r\n", "[a]<\r\n>."), B("1;\x80\xff\r\na\r\n", "[a]"),
          B("1 \t\r\na\r\n0 \r\n\r\n", "[a]<\r\n>."));
}

static void trailers_are_lines(void **state)
{
    (void)state;
    reads(CHUNKED, B("0\r\nA: b\r\nC: d\r\n\r\nx", "<A: b\r\n><C: d\r\n><\r\n>.x"),
          B("1\r\na\r\n0\r\nA: b\n\n", "[a]<A: b\n><\n>."), B("0\r\nA: b\r\n", "<A: b\r\n>"),
          B("0\r\n\r\r\n\r\n", "<\r\r\n><\r\n>."));
}

static void chunks_that_are_not_whole_ask_for_more(void **state)
{
    (void)state;
    reads(CHUNKED, B("", ""), B("5", ""), B("5\r", ""), B("5\r\n", ""),
          B("5\r\nhell", "[hell]"), B("5\r\nhello", "[hello]"), B("5\r\nhello\r", "[hello]"),
          B("5\r\nhello\r\n", "[hello]"), B("5\r\nhello\r\n0\r\n", "[hello]"),
          B("5\r\nhello\r\n0\r\n\r", "[hello]"));
}

static void what_is_not_a_chunk_is_refused(void **state)
{
    (void)state;
    /* no size */
    reads(CHUNKED, B("\r\n", "!"), B("\n", "!"), B(";x\r\n", "!"), B("g\r\n", "!"),
          B("hello\r\n", "!"), B("\0\r\n", "!"), B("1\r\na\r\n\r\n", "[a]!"));
    /* more than digits */
    reads(CHUNKED, B("+1\r\na", "!"), B("-1\r\na", "!"), B("-0\r\n", "!"), B("0x1\r\na", "!"),
          B("0X1\r\na", "!"), B(" 1\r\na", "!"), B("\t1\r\na", "!"), B("1_0\r\na", "!"),
          B("1 1\r\na", "!"), B("1 x\r\na", "!"), B("1,x\r\na", "!"), B("1h\r\na", "!"),
          B("1.0\r\na", "!"), B("\xb2\r\na", "!"));
    /* another line end than CRLF */
    reads(CHUNKED, B("1\na\r\n", "!"), B("1;x\na\r\n", "!"), B("0\n\r\n", "!"), B("12\na", "!"),
          B("1\r\r\na", "!"), B("1\ra\r\n", "!"));
    /* no line end behind the data */
    reads(CHUNKED, B("1\r\na\n", "[a]!"), B("1\r\nab", "[a]!"), B("1\r\na0\r\n\r\n", "[a]!"),
          B("1\r\na\rb", "[a]!"), B("1\r\na\r\r\n", "[a]!"));
    /* controls among the extensions */
    reads(CHUNKED, B("1;\0\r\na", "!"), B("1;a\rb\r\na", "!"), B("1;\x01\r\na", "!"),
          B("1;\x0b\r\na", "!"), B("1;\x7f\r\na", "!"), B("1\0\r\na", "!"),
          B("1;\r\r\na", "!"));
}

static void a_size_fits_in_63_bits_or_is_refused(void **state)
{
    (void)state;
    reads(CHUNKED, B("7fffffffffffffff\r\nab", "[ab]"), B("7FFFFFFFFFFFFFFF;x\r\nab", "[ab]"),
          B("0007fffffffffffffff\r\nab", "[ab]"), B("8000000000000000\r\nab", "!"),
          B("ffffffffffffffff\r\nab", "!"), B("fffffffffffffffe\r\nab", "!"),
          B("80000000000000001\r\nab", "!"), B("f0000000000000002\r\nab", "!"),
          B("10000000000000000\r\nab", "!"), B("10000000000000001\r\nab", "!"),
          B("0008000000000000000\r\nab", "!"),
          B("100000000000000000000000000000001\r\nab", "!"));
}

/* A text with so many bytes between its beginning and its end; freed by the caller. */
static char *stretched(const char *before, const char *after, size_t size)
{
    size_t b = strlen(before), a = strlen(after);
    char *s = malloc(size);

    assert_non_null(s);
    memset(s, '0', size);
    memcpy(s, before, b);
    memcpy(s + size - a, after, a);
    return s;
}

/* Whole, in pieces, byte by byte, and with the last byte alone. */
static void check_some(int64_t measure, const char *s, size_t size, const char *expected)
{
    static const size_t each[] = { 1, 2, 1000, 4096, 65535, 65536 };

    for (size_t i = 0; i < ARRAY_LEN(each); i++)
        check(measure, s, size, 0, each[i], expected, strlen(expected));
    check(measure, s, size, size, 1, expected, strlen(expected));
    check(measure, s, size, size - 1, 1, expected, strlen(expected));
}

static void the_line_of_a_size_has_1_kib_at_most(void **state)
{
    static const struct {
        const char *before, *after;
        size_t more;
        const char *expected;
    } rows[] = {
        { HEAD "0", "1\r\n", 0, HEAD_TOLD },          { HEAD "0", "1\r\n", 1, HEAD_TOLD "!" },
        { HEAD "1;x", "\r\n", 0, HEAD_TOLD },         { HEAD "1;x", "\r\n", 1, HEAD_TOLD "!" },
        { HEAD "1;x", "\r\n", 70000, HEAD_TOLD "!" }, { HEAD "0", "", 0, HEAD_TOLD },
        { HEAD "0", "", 1, HEAD_TOLD "!" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t size = strlen(HEAD) + H1_SIZE_LINE_MAX + rows[i].more;
        char *s = stretched(rows[i].before, rows[i].after, size);
        check_some(CHUNKED, s, size, rows[i].expected);
        free(s);
    }
}

static void a_line_has_64_kib_at_most_however_it_comes(void **state)
{
    static const struct {
        const char *before, *after;
    } rows[] = { { "A: ", "\r\n" }, { "A: ", "" }, { HEAD "0\r\nA: ", "\r\n" } };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t before = strlen(rows[i].before) - strlen("A: ");
        size_t size = before + H1_LINE_MAX + 1;
        char *s = stretched(rows[i].before, rows[i].after, size);
        check_some(CHUNKED, s, size, before > 0 ? HEAD_TOLD "#" : "#");
        free(s);
    }
}

static void a_line_of_64_kib_passes_however_it_comes(void **state)
{
    static char expected[H1_LINE_MAX + 3];
    char *s = stretched("A: ", "\r\n", H1_LINE_MAX);

    (void)state;
    (void)snprintf(expected, sizeof expected, "<%.*s>", H1_LINE_MAX, s);
    check_some(0, s, H1_LINE_MAX, expected);
    free(s);
}

static void init_begins_anew_wherever_the_last_message_was_left(void **state)
{
    static const struct {
        int64_t measure;
        const char *text;
    } left[] = {
        { 0, "HTTP/1.1 2" }, /* in a line */
        { 0, "HTTP/1.1 200 OK\r\n" },
        { 5, HEAD "hell" },
        { 5, HEAD "hello" },
        { UNTIL_CLOSE, HEAD "hello" },
        { CHUNKED, HEAD "5;x" },
        { CHUNKED, HEAD "5\r\nhell" },
        { CHUNKED, HEAD "5\r\nhello\r" },
        { CHUNKED, HEAD "0\r\nA: b" },
        { CHUNKED, HEAD "0\r\n\r\n" },
        { CHUNKED, HEAD "x\r\n" },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(left); i++) {
        for (size_t each = 1; each <= 64; each *= 64) { /* byte by byte, and whole */
            struct told t = { .measure = left[i].measure };
            size_t size = strlen(left[i].text);

            h1_decoder_init(&t.reader);
            for (size_t at = 0; at < size; at += each)
                feed(&t, left[i].text + at, size - at < each ? size - at : each);
            h1_decoder_init(&t.reader);
            struct told next = { .reader = t.reader, .measure = CHUNKED };
            feed(&next, HEAD "1\r\na\r\n0\r\n\r\nx", 31);
            assert_int_equal(next.n, strlen(HEAD_TOLD "[a]<\r\n>.x"));
            assert_memory_equal(next.text, HEAD_TOLD "[a]<\r\n>.x", next.n);
            h1_decoder_done(&next.reader);
        }
    }
}

static void the_end_is_told_again_when_asked_again(void **state)
{
    struct told t = { .measure = 1 };
    const char *in = "b", *piece = NULL;
    size_t n = 1, len = 0;

    (void)state;
    h1_decoder_init(&t.reader);
    feed(&t, HEAD "a", strlen(HEAD "a"));
    assert_true(t.over);
    assert_int_equal(h1_decoder_next(&t.reader, &in, &n, &piece, &len), H1_END);
    assert_int_equal(n, 1);
    n = 0;
    assert_int_equal(h1_decoder_next(&t.reader, &in, &n, &piece, &len), H1_END);
    h1_decoder_done(&t.reader);
}

static void done_frees_half_a_line_and_takes_a_zeroed_one(void **state)
{
    struct told t = { .measure = 0 };
    struct h1_decoder zeroed = { 0 };

    (void)state;
    h1_decoder_done(&zeroed);
    h1_decoder_init(&t.reader);
    feed(&t, "HTTP/1.1 2", 10);
    assert_non_null(t.reader.line.data);
    h1_decoder_done(&t.reader);
    assert_null(t.reader.line.data);
    h1_decoder_done(&t.reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_comes_line_by_line),
        cmocka_unit_test(a_head_that_is_not_whole_asks_for_more),
        cmocka_unit_test(an_interim_head_is_followed_by_more_lines),
        cmocka_unit_test(a_counted_body_ends_after_its_bytes_and_no_later),
        cmocka_unit_test(a_body_until_close_never_ends_by_itself),
        cmocka_unit_test(chunks_are_taken_apart),
        cmocka_unit_test(extensions_of_chunks_are_passed_over),
        cmocka_unit_test(trailers_are_lines),
        cmocka_unit_test(chunks_that_are_not_whole_ask_for_more),
        cmocka_unit_test(what_is_not_a_chunk_is_refused),
        cmocka_unit_test(a_size_fits_in_63_bits_or_is_refused),
        cmocka_unit_test(the_line_of_a_size_has_1_kib_at_most),
        cmocka_unit_test(a_line_has_64_kib_at_most_however_it_comes),
        cmocka_unit_test(a_line_of_64_kib_passes_however_it_comes),
        cmocka_unit_test(init_begins_anew_wherever_the_last_message_was_left),
        cmocka_unit_test(the_end_is_told_again_when_asked_again),
        cmocka_unit_test(done_frees_half_a_line_and_takes_a_zeroed_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
