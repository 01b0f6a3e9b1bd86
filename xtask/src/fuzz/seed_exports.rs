//! What fuzzing of the servers' configurations starts from: as people write them, as the mover leaves them, and such that may be
//! read in two ways.

use super::target::exports::GANESHA;

/// Tables of the kernel's server, for `/srv/vm` or `/srv/a b`.
const TABLES: [&str; 22] = [
    "/srv/vm 10.0.0.0/24(rw,no_root_squash,sync)\n",
    "# /srv/vm *(rw)\n/home\t-sync,rw  pc1  pc2(ro)\n/srv/vm *(rw)\n/srv/ro *(ro)\n",
    "/srv/vm 10.0.0.0/24(rw,sync) \\\n\t[a-c]?.example.org(ro,rw) \\\n  @nodes # the nodes (rw) \\\n/srv/b h(rw)",
    "\"/srv/a b\"   -rw,sync 10.0.0.1 -ro 10.0.0.2\n",
    "/srv/a\\040b h(rw)\n/srv/vm h(rw)",
    "  /srv/vm/   2001:db8::/64(sec=krb5,rw,sec=sys,ro) gss/krb5(rw) *\n",
    "/srv/vm -rw",
    "/srv/\\166m (sync,rw)\n/srv/vm h(rw)\n",
    "# leeward-was /srv/vm h(rw,sync)\n/srv/vm h(ro,sync)\n",
    "# leeward-was /srv/vm h(rw) \\\n# leeward-was  i(rw)\n/srv/vm h(ro) \\\n i(ro)\n# leeward-was /srv/vm j(rw)\n/srv/vm j(ro)",
    "# leeward-was /srv/vm h(rw)\n/srv/vm h(rw)\n",
    "# leeward-was /srv/b h(rw)\n/srv/b h(ro)\n/srv/vm h(rw)\n",
    "/srv/vm h(ro)\n",
    "/srv/vm h(rw\n",
    "/srv/vm \"h(rw)\"\n",
    "/srv/vm h(r\\167)\n",
    "/srv/vm \"h\n(rw)\"\n",
    "/srv/vm h(rw)\r\n",
    "/srv h(rw)\n/srv/vm h(rw)\n",
    "/srv/vm h(rw)\n/srv/vm/x -r\\167 h\n",
    "\\\n\\\n/srv/vm h(rw)\\\n\n# \\\n\"/srv/vm\" i(rw)",
    "",
];

/// Configurations of nfs-ganesha, for export 1, 8 or 10.
const CONFIGURATIONS: [&str; 27] = [
    "EXPORT { Export_Id = 1; Path = /srv/a; Access_Type = RW; FSAL { Name = VFS; } }\n",
    "# EXPORT { Export_Id = 1; }\nNFS_CORE_PARAM { Protocols = 3, 4; }\nEXPORT { Export_Id = 1; Path = \"/srv/a {;}\";\n access_type = RW;\n \
     # CLIENT { Access_Type = NONE; }\n CLIENT { Clients = 10.77.0.9; Access_Type = RW; Squash = Root; }\n}\n",
    "export\n{\n Export_Id = 10;\n Access_Type=MDONLY ;\n}\nEXPORT { Export_Id = 1; Access_Type = RW; }",
    "EXPORT { Export_Id = 1; CLIENT { Clients = *; Access_Type = RW; } }",
    "EXPORT { Access_Type = RO; # leeward-was -\n Export_Id = 1; }",
    "EXPORT { Export_Id = 1; Access_Type = RO; # leeward-was RW;\n CLIENT { Access_Type = RW; } }",
    "EXPORT { Export_Id = 1; Access_Type = RO; CLIENT { Access_Type = RO; } }",
    "EXPORT { Export_Id = 1; Access_Type = RO; CLIENT { Access_Type = RW; } }",
    "EXPORT { Export_Id = 1; Access_Type = NONE; }",
    "EXPORT { Export_Id = 1; Access_Type = RW; Access_Type = RO; }",
    "EXPORT { Export_Id = 1; Access_Type = RW\n; }",
    "EXPORT { Export_Id = 1; Access_Type = RW, RO; }",
    "EXPORT { Export_Id = 1; Access_Type = ; }",
    "EXPORT { Export_Id = 1; Access_Type = { ; } }",
    "EXPORT { Export_Id = 1; Access_Type = \"RW\"; }",
    "EXPORT { Export_Id = 1; } EXPORT { Export_Id = 1; }",
    "EXPORT { Export_Id = 010; } EXPORT { Export_Id = 0xa; }",
    "EXPORT { Export_Id = 010; Access_Type = RW; }",
    "EXPORT { Export_Id = 1; Access_Type = }",
    "EXPORT { Export_Id = 1; Access_Type = RW; CLIENT { Access_Type = } }",
    "EXPORT { CLIENT { Export_Id = 1; } Export_Id = 8; Access_Type = RW; }",
    "EXPORT { Export_Id = 1; Path = \"a\\\"; Access_Type = RW; # \"; }",
    "EXPORT { Export_Id = 1; Path = 'a\\'; Access_Type = RW; }",
    "EXPORT { Export_Id = 1; Path = \"a; } ",
    "EXPORT_DEFAULTS { Access_Type = RW; } %include \"x.conf\"\r\nEXPORT {\r\n Export_Id = 8;\r\n}\r\n",
    "}",
    "EXPORT { Export_Id = 1; ",
];

pub(super) fn exports() -> Vec<Vec<u8>> {
    let seed = |kind: u8, text: &str| [&[kind], text.as_bytes()].concat();
    let tables = TABLES.iter().flat_map(|text| [0, 1].map(|path| seed(path << 1, text)));
    let configurations = CONFIGURATIONS.iter().flat_map(|text| [1, 8, 10].map(|id| seed(GANESHA | id << 1, text)));
    tables.chain(configurations).collect()
}
