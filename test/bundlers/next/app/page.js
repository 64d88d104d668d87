export default function Page() {
  return <p>Ask /api/embed.</p>;
}
