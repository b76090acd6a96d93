-- As the sync agent writes them: public integers kept, sequences moved past them.
INSERT INTO users VALUES ('91e3ea57-175e-55e9-8e20-1c6406db56f4', 1, 'head', 'head@example.test', 'x', 'Hedy', 'Lamar', 'admin', 1, 1, 1, '2026-01-02 03:04:05');
INSERT INTO users VALUES ('00000000-0000-5000-8000-000000000002', 2, 'teacher', 't@example.test', 'x', 'Tea', 'Cher', 'staff', 1, 0, 0, '2026-01-02 03:04:05.5');
INSERT INTO users VALUES ('13658362-b65a-5a64-83c2-c1c8a0e55d46', 42, 'student42', 's42@example.test', 'x', 'Ada', 'Ray', 'student', 1, 0, 0, '2026-01-02 03:04:05.000006');
INSERT INTO profiles VALUES ('00000000-0000-5000-8000-000000000011', 'admin', 1, '91e3ea57-175e-55e9-8e20-1c6406db56f4', NULL, NULL, NULL, NULL, '2026-01-02 03:04:05.000006', '2026-01-02 03:04:05.000006');
INSERT INTO profiles VALUES ('fb6abf9a-9ed9-5369-9824-3751963ad433', 'student', 7, '13658362-b65a-5a64-83c2-c1c8a0e55d46', '1 High St', 'female', 3, 1, '2026-01-02 03:04:05.000006', '2026-01-02 03:04:05.000006');
INSERT INTO seq_users VALUES (42);
INSERT INTO seq_profiles_admin VALUES (1);
INSERT INTO seq_profiles_student VALUES (7);
