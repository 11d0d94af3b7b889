<?php
// Makes exports with PHP: php make.php PATH-OF-class-phpass.php, in this folder. See README.md.
require $argv[1];

[$one, $two] = ["correct horse battery staple", "pässwörd ✓ 2"];
$people = [["ana", $one, true], ["bob", $two, true], ["cle", $one, false], ["dee", null, true]];

function table(string $name, array $rows): void {
    $file = fopen($name, "w");
    fputcsv($file, array_keys($rows[0]), escape: "");
    foreach ($rows as $row) {
        fputcsv($file, $row, escape: "");
    }
}

$phpass = new PasswordHash(8, true);
$rows = [];
foreach ($people as $at => [$name, $password, $active]) {
    $hash = $password === null ? "" : $phpass->HashPassword(trim($password));
    if ($at === 1) {
        // WordPress since 6.8, by its published rule (wp_hash_password).
        $bytes = hash_hmac("sha384", trim($password), "wp-sha384", true);
        $hash = "\$wp" . password_hash(base64_encode($bytes), PASSWORD_BCRYPT, ["cost" => 4]);
    }
    $rows[] = [
        "ID" => $at + 1, "user_login" => "$name-wordpress", "user_pass" => $hash, "user_nicename" => $name,
        "user_email" => "$name@wordpress.example", "user_url" => "", "user_registered" => "2024-05-06 07:08:09",
        "user_activation_key" => "", "user_status" => 0, "display_name" => $name, "spam" => $active ? 0 : 1,
        "deleted" => 0,
    ];
}
table("wordpress.csv", $rows);

$rows = [];
foreach ($people as $at => [$name, $password, $active]) {
    $rows[] = [
        "id" => $at + 1, "name" => $name, "email" => "$name@laravel.example",
        "email_verified_at" => "2024-05-06 07:08:09",
        "password" => $password === null ? "" : password_hash($password, PASSWORD_BCRYPT, ["cost" => 4]),
        "remember_token" => "abc", "created_at" => "2024-05-06 07:08:09", "updated_at" => "2024-05-06 07:08:09",
        "deleted_at" => $active ? "" : "2024-06-07 08:09:10",
    ];
}
table("laravel.csv", $rows);
