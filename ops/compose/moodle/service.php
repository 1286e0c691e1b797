<?php
// Sésame's user, role, service and token, as docs/how-to/connect-moodle.md describes them. Harmless to repeat.
define('CLI_SCRIPT', true);
require('/var/www/html/config.php');
require_once($CFG->dirroot . '/user/lib.php');
require_once($CFG->dirroot . '/webservice/lib.php');

const CAPABILITIES = [
    'webservice/rest:use', 'moodle/user:create', 'moodle/user:update', 'moodle/user:viewdetails',
    'moodle/user:viewalldetails', 'moodle/site:viewuseridentity', 'moodle/cohort:manage',
];
const FUNCTIONS = [
    'core_webservice_get_site_info', 'core_user_get_users_by_field', 'core_user_get_users',
    'core_user_create_users', 'core_user_update_users', 'core_cohort_get_cohorts', 'core_cohort_search_cohorts',
    'core_cohort_create_cohorts', 'core_cohort_get_cohort_members', 'core_cohort_add_cohort_members',
    'core_cohort_delete_cohort_members',
];

set_config('enablewebservices', 1);
set_config('webserviceprotocols', 'rest');
\core\plugininfo\auth::enable_plugin('cas', true);
if ($DB->record_exists('external_services', ['shortname' => 'sesame'])) {
    exit(0);
}

$system = context_system::instance();
$userid = user_create_user([
    'username' => 'sesame', 'password' => bin2hex(random_bytes(24)) . 'aA1!', 'firstname' => 'Sésame',
    'lastname' => 'Service', 'email' => 'sesame@univ-exemple.fr', 'confirmed' => 1, 'auth' => 'manual',
    'mnethostid' => $CFG->mnet_localhost_id,
]);
$roleid = create_role('Sésame', 'sesame', 'What Sésame may do');
set_role_contextlevels($roleid, [CONTEXT_SYSTEM]);
foreach (CAPABILITIES as $capability) {
    assign_capability($capability, CAP_ALLOW, $roleid, $system->id);
}
role_assign($roleid, $userid, $system->id);

$manager = new webservice();
$serviceid = $manager->add_external_service((object) [
    'name' => 'Sésame', 'shortname' => 'sesame', 'enabled' => 1, 'restrictedusers' => 1,
    'downloadfiles' => 0, 'uploadfiles' => 0,
]);
foreach (FUNCTIONS as $function) {
    $manager->add_external_function_to_service($function, $serviceid);
}
$manager->add_ws_authorised_user((object) ['externalserviceid' => $serviceid, 'userid' => $userid]);
$DB->insert_record('external_tokens', (object) [
    'token' => trim(file_get_contents('/run/secrets/moodle-token')), 'privatetoken' => random_string(64),
    'tokentype' => EXTERNAL_TOKEN_PERMANENT, 'userid' => $userid, 'externalserviceid' => $serviceid,
    'contextid' => $system->id, 'creatorid' => get_admin()->id, 'timecreated' => time(), 'validuntil' => 0,
    'name' => 'sesame',
]);
