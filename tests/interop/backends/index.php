<?php
// PHP's built-in server, with the routing by hand that small services have.

$path = rawurldecode(parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH) ?: '');
$handler = match (true) {
    $path === '/admin', str_starts_with($path, '/admin/') => 'admin',
    $path === '/orders', str_starts_with($path, '/orders/') => 'orders',
    preg_match('#^/users/[^/]+$#D', $path) === 1 => 'user',
    preg_match('#^/users/[^/]+/secret$#D', $path) === 1 => 'secret',
    preg_match('#^/own/[^/]+(/.*)?$#Ds', $path) === 1 => 'own',
    $path === '/me:delete' => 'verb',
    $path === '/café' => 'cafe',
    preg_match(getenv('MODE') === 'fold' ? '#^/keys$#iuD' : '#^/keys$#uD', $path) === 1 => 'keys',
    default => 'other',
};
$lazy = isset($_SERVER['HTTP_X_LAZY']);
$body = $lazy ? '' : file_get_contents('php://input');
$headers = [];
foreach ($_SERVER as $key => $value) {
    if (str_starts_with($key, 'HTTP_')) $headers[] = [str_replace('_', '-', substr($key, 5)), $value];
}
$line = json_encode([
    'handler' => $handler,
    'method' => $_SERVER['REQUEST_METHOD'],
    'path' => $path,
    'target' => $_SERVER['REQUEST_URI'],
    'query' => $_SERVER['QUERY_STRING'] ?? '',
    'host' => $_SERVER['HTTP_HOST'] ?? null,
    'client' => $_SERVER['REMOTE_ADDR'],
    'user' => $_SERVER['REMOTE_USER'] ?? $_SERVER['PHP_AUTH_USER'] ?? null,
    'headers' => $headers,
    'length' => strlen($body),
    'sha' => hash('sha256', $body),
    'lazy' => $lazy,
], JSON_INVALID_UTF8_SUBSTITUTE | JSON_UNESCAPED_UNICODE);
file_put_contents(getenv('LOG'), "$line\n", FILE_APPEND);
header('content-type: application/json');
echo "$line\n";
