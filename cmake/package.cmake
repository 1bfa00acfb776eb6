# What `cmake --install` puts where, and the Debian package that `cpack -G DEB` makes of it.
include(GNUInstallDirs)

# The manual page of the settings comes from the program's own table.
set(made ${CMAKE_CURRENT_BINARY_DIR}/doc)
set(from ${CMAKE_CURRENT_SOURCE_DIR}/conf)
file(MAKE_DIRECTORY ${made})
add_custom_command(OUTPUT ${made}/oneshot-proxy.ini.5.gz DEPENDS oneshot-proxy
  COMMAND oneshot-proxy --print-man > ${made}/oneshot-proxy.ini.5
  COMMAND gzip -9nf ${made}/oneshot-proxy.ini.5)
add_custom_command(OUTPUT ${made}/oneshot-proxy.1.gz DEPENDS conf/man/oneshot-proxy.1
  COMMAND gzip -9nc ${from}/man/oneshot-proxy.1 > ${made}/oneshot-proxy.1.gz)
add_custom_command(OUTPUT ${made}/changelog.gz DEPENDS conf/debian/changelog
  COMMAND gzip -9nc ${from}/debian/changelog > ${made}/changelog.gz)
add_custom_target(docs ALL
  DEPENDS ${made}/oneshot-proxy.ini.5.gz ${made}/oneshot-proxy.1.gz ${made}/changelog.gz)

install(TARGETS oneshot-proxy RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
# The user that systemd makes up for the service reads it, so it is no place for the secret.
install(FILES conf/oneshot-proxy.ini DESTINATION ${CMAKE_INSTALL_FULL_SYSCONFDIR}/oneshot-proxy)
install(FILES ${made}/oneshot-proxy.1.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${made}/oneshot-proxy.ini.5.gz DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md conf/alerts.yml conf/debian/copyright ${made}/changelog.gz
  DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR})
# The units name the program and its settings where these are put. In conf/ they name the package's places.
file(GLOB units CONFIGURE_DEPENDS ${from}/*.service ${from}/*.socket)
install(CODE "
  set(units \"${units}\")
  foreach(unit IN LISTS units)
    file(READ \"\${unit}\" text)
    string(REPLACE /usr/bin/ \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_BINDIR}/\" text \"\${text}\")
    string(REPLACE /etc/oneshot-proxy/ ${CMAKE_INSTALL_FULL_SYSCONFDIR}/oneshot-proxy/ text \"\${text}\")
    get_filename_component(name \"\${unit}\" NAME)
    file(WRITE \"${made}/\${name}\" \"\${text}\")
    file(INSTALL \"${made}/\${name}\" DESTINATION \"\${CMAKE_INSTALL_PREFIX}/lib/systemd/system\")
  endforeach()")

# --- the package; ./dev package builds and tries it ---

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)             # /etc is not below the prefix
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_CONTACT "oneshot-proxy maintainers <oneshot-proxy@example.invalid>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "authenticating gateway for the 1Shot API")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS ca-certificates)
# Loaded where a ledger is kept in them (src/ledger/library.h).
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS "libsqlite3-0 (>= 3.35), libpq5 (>= 14)")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Services call it over plain HTTP as if it were the API; it holds the client
 secret, keeps an access token fresh, and puts it on every request. A call that
 moves money reaches the API at most once.")
# Maintainer scripts and the list of configuration files.
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
  ${CMAKE_CURRENT_SOURCE_DIR}/conf/debian/conffiles ${CMAKE_CURRENT_SOURCE_DIR}/conf/debian/postinst
  ${CMAKE_CURRENT_SOURCE_DIR}/conf/debian/prerm ${CMAKE_CURRENT_SOURCE_DIR}/conf/debian/postrm)
include(CPack)
