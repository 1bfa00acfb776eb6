#pragma once
/* libpq's functions as a table: the library is loaded only if the ledger is kept in
 * PostgreSQL. libpq.PQclear(r) is PQclear(r) of its manual. */
#include <libpq-fe.h>

#include "base/buf.h"

#define LIBPQ_FUNCTIONS(X)  \
    X(PQclear)              \
    X(PQcmdStatus)          \
    X(PQcmdTuples)          \
    X(PQconnectPoll)        \
    X(PQconnectStartParams) \
    X(PQconsumeInput)       \
    X(PQenterPipelineMode)  \
    X(PQerrorMessage)       \
    X(PQfinish)             \
    X(PQflush)              \
    X(PQgetisnull)          \
    X(PQgetlength)          \
    X(PQgetResult)          \
    X(PQgetvalue)           \
    X(PQisBusy)             \
    X(PQntuples)            \
    X(PQpipelineSync)       \
    X(PQresultErrorField)   \
    X(PQresultStatus)       \
    X(PQsendQueryParams)    \
    X(PQsetnonblocking)     \
    X(PQsetNoticeReceiver)  \
    X(PQsetSingleRowMode)   \
    X(PQsocket)             \
    X(PQstatus)             \
    X(PQtransactionStatus)

#define LIBPQ_POINTER(name) __typeof__(name) *name;
struct libpq {
    LIBPQ_FUNCTIONS(LIBPQ_POINTER)
};
/* All NULL until libpq_load has returned 0. */
extern struct libpq libpq;

/* Like library_load. */
int libpq_load(struct buf *error) MUST_CHECK;
