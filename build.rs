//! Nothing is generated: this only tells cargo that the binary embeds the migrations, new files among them.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
