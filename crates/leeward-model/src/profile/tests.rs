use super::*;

#[test]
fn every_profile_that_is_shipped_can_be_read() {
    for (file, text) in FILES {
        let profile = read::document(text).unwrap_or_else(|errors| panic!("profiles/{file}.yaml: {errors}"));
        assert_eq!(profile.name, *file, "a profile's file has its name");
    }
    assert_eq!(shipped().len(), FILES.len());
}
