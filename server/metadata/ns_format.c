/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#include "err.h"
#include "records.h"
#include "usage.h"

static int make_root(struct store_txn *txn, int64_t now_ns)
{
    struct inode root = {
        .ino = INODE_ROOT,
        .mode = S_IFDIR | 01777, /* as /tmp: everyone may make things, no one may remove others' */
        .nlink = 2,
        .atime_ns = now_ns,
        .mtime_ns = now_ns,
        .ctime_ns = now_ns,
        .mtime_base_ns = now_ns,
        .parent = INODE_ROOT,
    };
    return records_inode_put(txn, &root);
}

static int make(struct store_txn *txn, int64_t now_ns)
{
    uint8_t cluster[16];
    if (getrandom(cluster, sizeof cluster, 0) != sizeof cluster)
        return err_sys("making the cluster's identity");
    int error = make_root(txn, now_ns);
    if (!error)
        error = store_put(txn, STORE_SETTINGS, (struct store_bytes){SETTING_CLUSTER, strlen(SETTING_CLUSTER)},
                          (struct store_bytes){cluster, sizeof cluster});
    if (!error)
        error = records_setting_put(txn, SETTING_INO_NEXT, INODE_ROOT + 1);
    if (!error)
        error = records_setting_put(txn, SETTING_EPOCH, 0);
    if (!error)
        error = records_setting_put(txn, SETTING_USAGE, 0);
    if (!error)
        error = records_setting_put(txn, SETTING_MAP_VERSION, 1);
    if (!error)
        error = records_setting_put(txn, SETTING_FORMAT, RECORDS_FORMAT);
    return error;
}

static int get_cluster(struct store_txn *txn, uint8_t cluster[16])
{
    struct store_bytes raw;
    int error =
        store_get(txn, STORE_SETTINGS, (struct store_bytes){SETTING_CLUSTER, strlen(SETTING_CLUSTER)}, &raw);
    if (error == -ENOENT || (!error && raw.length != 16))
        return err_set(-EUCLEAN, "the metadata store does not say which cluster it belongs to");
    if (!error)
        memcpy(cluster, raw.data, 16);
    return error;
}

int ns_format(struct store_txn *txn, int64_t now_ns, struct ns_identity *identity)
{
    uint64_t format;
    int error = records_setting_get(txn, SETTING_FORMAT, &format);
    if (error == -ENOENT) {
        error = make(txn, now_ns);
        format = RECORDS_FORMAT;
    }
    if (error)
        return error;
    if (format != RECORDS_FORMAT)
        return err_set(-EUCLEAN, "the metadata store has format %" PRIu64 ", and this server knows %u",
                       format, RECORDS_FORMAT);
    error = get_cluster(txn, identity->cluster);
    if (!error)
        error = records_setting_get(txn, SETTING_EPOCH, &identity->epoch);
    if (error)
        return error;
    /* Sums that are known stay so: the next server sees that nobody came between. */
    const int known = usage_is_known(txn);
    identity->epoch++;
    error = known < 0 ? known : records_setting_put(txn, SETTING_EPOCH, identity->epoch);
    return error || !known ? error : records_setting_put(txn, SETTING_USAGE, identity->epoch);
}
