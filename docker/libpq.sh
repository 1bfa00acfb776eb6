#!/bin/sh
# In the build stage: what Debian's archive of libpq (libpq-dev) lacks to be linked, in /opt/libpq/lib.
#
#   libpgcommon.a, libpgport.a        from the package postgresql-server-dev, which is unpacked and not
#                                     installed, since it brings compilers
#   libgssapi_krb5.a, libldap.a       Debian has no archives of Kerberos and LDAP. libpq calls them for
#                                     gssencmode, for a server that asks for Kerberos, and for service
#                                     files by LDAP; the program wants none of that, so these fail.
set -eu
mkdir -p /build/libpq /opt/libpq/lib
cd /build/libpq

source=$(dpkg-query -W -f '${source:Package}' libpq-dev) # postgresql-17
version=$(dpkg-query -W -f '${Version}' libpq-dev)
apt-get -o APT::Sandbox::User=root download -q "postgresql-server-dev-${source#postgresql-}=$version"
dpkg -x ./*.deb unpacked
for name in libpgcommon libpgport; do
    cp "unpacked/usr/lib/postgresql/${source#postgresql-}/lib/${name}_shlib.a" "/opt/libpq/lib/$name.a"
done

# Every function gives an error: GSS_S_FAILURE is 13 << 16; for LDAP, no handle and "other".
cat >gss.c <<'END'
void *GSS_C_NT_HOSTBASED_SERVICE;
#define FAILS(name) unsigned name(void); unsigned name(void) { return 13U << 16; }
FAILS(gss_init_sec_context) FAILS(gss_delete_sec_context) FAILS(gss_release_buffer)
FAILS(gss_release_name) FAILS(gss_release_cred) FAILS(gss_acquire_cred) FAILS(gss_display_status)
FAILS(gss_import_name) FAILS(gss_wrap) FAILS(gss_unwrap) FAILS(gss_wrap_size_limit)
END
cat >ldap.c <<'END'
#define GIVES(type, name, value) type name(void); type name(void) { return value; }
GIVES(void *, ldap_init, 0) GIVES(void *, ldap_first_entry, 0) GIVES(void *, ldap_get_values_len, 0)
GIVES(const char *, ldap_err2string, "there is no LDAP") GIVES(int, ldap_count_entries, 0)
GIVES(int, ldap_msgfree, 0) GIVES(int, ldap_result, -1) GIVES(int, ldap_search_st, 80)
GIVES(int, ldap_set_option, -1) GIVES(int, ldap_simple_bind, -1) GIVES(int, ldap_unbind, 0)
GIVES(int, ldap_value_free_len, 0)
END
for name in gss ldap; do
    gcc -O2 -fPIE -ffunction-sections -c "$name.c"
done
ar rcs /opt/libpq/lib/libgssapi_krb5.a gss.o
ar rcs /opt/libpq/lib/libldap.a ldap.o
rm -rf /build/libpq
